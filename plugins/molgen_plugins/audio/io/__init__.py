"""Files of sounds, and drawings of them."""
