"""Transformers over elements of any layout."""
