"""What the comparer takes: a picture with transparency too, but no other tensor."""

import pytest
import torch
from freescale.nodes.compare.compare import FreeScaleCompare

PICTURE = torch.rand(1, 8, 12, 3)


def test_transparency_is_left_out():
    files = FreeScaleCompare.execute(image_a=PICTURE, image_b=torch.rand(2, 16, 24, 4, dtype=torch.float16)).ui
    assert [len(files[key]) for key in ("freescale_a", "freescale_b")] == [1, 2]


@pytest.mark.parametrize("shape", [(8, 12, 3), (1, 8, 12), (1, 8, 12, 1), (0, 8, 12, 3)])
def test_another_tensor_is_refused(shape):
    with pytest.raises(ValueError, match="FreeScale Compare › image_b = .*Convert a mask with MaskToImage"):
        FreeScaleCompare.execute(image_a=PICTURE, image_b=torch.rand(shape))
