"""The counter itself, on drawings whose contents are known."""

import numpy as np
import pytest
from figures import parts
from PIL import Image

from tools.demo_model.scenes import View, random_scene, random_view, render


@pytest.mark.parametrize("width, height", [(256, 256), (512, 512), (1024, 1024), (384, 704), (704, 384)])
def test_one_character_is_two_pupils_and_a_mouth(width, height):
    rng = np.random.default_rng(7)
    for _ in range(12):
        assert parts(render(random_scene(rng), random_view(rng, "portrait", width / height), width, height)) == (2, 1)


def test_two_characters_are_four_pupils_and_two_mouths():
    rng = np.random.default_rng(8)
    pair = Image.new("RGB", (512, 256))
    for x in (0, 256):
        pair.paste(render(random_scene(rng), View(0, -0.3, 4), 256), (x, 0))
    assert parts(pair) == (4, 2)


@pytest.mark.parametrize("width, height", [(256, 256), (192, 352), (352, 192)])
def test_the_meadow_is_empty(width, height):
    rng = np.random.default_rng(9)
    for _ in range(12):
        assert parts(render(random_scene(rng), random_view(rng, "backdrop", width / height), width, height)) == (0, 0)
