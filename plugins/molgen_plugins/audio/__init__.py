"""Sounds: what a clip is, files, folders and archives of clips, drawings to see and hear, and clips as samples."""
