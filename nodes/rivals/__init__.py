"""Other methods as nodes, to compare with."""
