"""The metrics of items of any domain, a file for each kind."""
