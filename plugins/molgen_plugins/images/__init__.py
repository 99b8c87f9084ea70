"""Images: what a picture is, files, folders and archives of pictures, drawings, and pixels as samples."""
