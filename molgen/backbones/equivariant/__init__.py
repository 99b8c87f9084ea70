"""Networks over points in space: what they say of vectors turns with them, and all else stays."""
