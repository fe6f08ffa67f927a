"""The counter itself, on drawings whose contents are known."""

import numpy as np
import pytest
from figures import parts
from PIL import Image

from tools.demo_model.scenes import View, random_scene, random_view, render


@pytest.mark.parametrize("size", [256, 512, 1024])
def test_one_character_is_two_pupils_and_a_mouth(size):
    rng = np.random.default_rng(7)
    for _ in range(12):
        assert parts(render(random_scene(rng), random_view(rng, "portrait"), size)) == (2, 1)


def test_two_characters_are_four_pupils_and_two_mouths():
    rng = np.random.default_rng(8)
    pair = Image.new("RGB", (512, 256))
    for x in (0, 256):
        pair.paste(render(random_scene(rng), View(0, -0.3, 4), 256), (x, 0))
    assert parts(pair) == (4, 2)


def test_the_meadow_is_empty():
    rng = np.random.default_rng(9)
    for _ in range(12):
        assert parts(render(random_scene(rng), random_view(rng, "backdrop"), 256)) == (0, 0)
