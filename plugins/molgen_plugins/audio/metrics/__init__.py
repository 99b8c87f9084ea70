"""Figures of sounds alone."""
