"""Files of molecules."""
