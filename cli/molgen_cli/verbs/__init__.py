"""The commands of `molgen`, a file each."""
