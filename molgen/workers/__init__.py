"""Untrusted items in killable processes."""
