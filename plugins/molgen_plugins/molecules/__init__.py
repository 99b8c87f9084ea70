"""Molecules: SMILES strings, their chemistry, files and drawings."""
