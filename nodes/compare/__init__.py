"""Pictures and methods beside each other."""
