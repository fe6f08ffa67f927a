"""Nodes that patch a MODEL with FreeScale."""
