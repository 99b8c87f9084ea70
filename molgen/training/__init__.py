"""The training loop, and a whole run in a folder that can be resumed."""
