"""From a file or data set to batches: reading, preparing, encoding, storing and loading."""
