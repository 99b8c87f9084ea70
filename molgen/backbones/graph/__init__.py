"""Networks over graphs, on torch-geometric."""
