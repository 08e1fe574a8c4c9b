"""Raw files to checked tables."""
