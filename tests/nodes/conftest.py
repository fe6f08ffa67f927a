"""The nodes as the host runs them."""

import pytest
import torch


@pytest.fixture(autouse=True)
def inference_mode():
    """As the host runs every node."""
    with torch.inference_mode():
        yield
