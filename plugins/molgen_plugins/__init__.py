"""The domains that ship with molgen; each walks the same road as a stranger's plugin."""
