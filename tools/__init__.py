"""What the commands of dev.py do; they run in an environment that has this package's libraries."""
