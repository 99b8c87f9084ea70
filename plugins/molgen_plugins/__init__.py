"""The domains that ship with molgen; each is found and loaded as a third party's plugin is."""
