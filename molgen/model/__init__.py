"""A model as a user holds it: encoder, family and network in one, and its files."""
