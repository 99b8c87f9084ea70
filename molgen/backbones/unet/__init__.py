"""Convolutions over grids and long sequences."""
