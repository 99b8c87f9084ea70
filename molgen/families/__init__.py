"""The generative families, each over samples of any typed fields."""
