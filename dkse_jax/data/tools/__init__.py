"""Tools for a folder of images: checks, duplicates, packing."""
