"""Other methods for large pictures, as tensor functions, to compare FreeScale with."""
