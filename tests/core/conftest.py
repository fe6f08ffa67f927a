"""One hypothesis profile: the same examples every time, and nothing written into the repository."""

from hypothesis import settings

settings.register_profile("freescale", deadline=None, derandomize=True, database=None, max_examples=40)
settings.load_profile("freescale")
