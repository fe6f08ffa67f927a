"""The nodes as the host runs them."""

import pytest
import torch

torch.set_num_threads(1)  # tensors this small only wait for a second thread


@pytest.fixture(autouse=True)
def inference_mode():
    """As the host runs every node."""
    with torch.inference_mode():
        yield
