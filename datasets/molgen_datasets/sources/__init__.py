"""The sources of real data, a file each."""
