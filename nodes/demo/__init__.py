"""A small model that comes with the pack."""
