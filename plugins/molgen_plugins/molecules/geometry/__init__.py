"""Molecules in space: atoms with positions, their bonds, and the encoder that models learn them by."""
