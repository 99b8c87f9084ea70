"""Fingerprints and their nearest neighbours."""
