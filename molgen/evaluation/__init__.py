"""Whole files against a reference."""
