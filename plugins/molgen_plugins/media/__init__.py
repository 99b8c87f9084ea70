"""What pictures and sounds have in common: their files, in folders, archives and tables."""
