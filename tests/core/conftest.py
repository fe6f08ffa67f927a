"""One thread, and one hypothesis profile: the same examples every time, and nothing written into the repository."""

import torch
from hypothesis import settings

torch.set_num_threads(1)  # tensors this small only wait for a second thread
settings.register_profile("freescale", deadline=None, derandomize=True, database=None, max_examples=40)
settings.load_profile("freescale")
