"""Other methods on a MODEL, on the same seam as FreeScale's."""
