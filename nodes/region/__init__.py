"""Where the detail goes."""
