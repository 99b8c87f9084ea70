"""Molecules as SELFIES."""
