"""The cascade and what it is made of."""
