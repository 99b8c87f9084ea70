"""The metrics that only molecules have, a file for each kind."""
