"""Real data sources with checksums, and the making of synthetic data sets."""
