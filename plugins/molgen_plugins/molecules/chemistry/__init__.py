"""What is done with RDKit."""
