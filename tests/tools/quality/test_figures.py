"""The figures of `dev.py quality`, on pictures and numbers whose figures are known."""

import numpy as np
import pytest
from figures import PATCHES, bootstrap, detail_energy, fidelity, fine_patches, off_colour, texture_distance, wilson
from PIL import Image
from report import contact_sheet, summary, table

from tools.demo_model.scenes import random_scene, random_view, render

NATIVE, SIDE = 256, 512


def drawing(seed: int, side: int = SIDE) -> Image.Image:
    rng = np.random.default_rng(seed)
    return render(random_scene(rng), random_view(rng, "portrait"), side)


def wave(cycles_per_px: float) -> Image.Image:
    """A sine along x."""
    line = 128 + 100 * np.sin(2 * np.pi * cycles_per_px * np.arange(SIDE))
    return Image.fromarray(np.broadcast_to(line, (SIDE, SIDE)).round().astype(np.uint8)).convert("RGB")


def test_detail_is_what_lies_above_the_nyquist_frequency_of_the_native_picture():
    assert detail_energy(wave(0.3), NATIVE) > 1e4 * detail_energy(wave(0.2), NATIVE)
    # Half the square of the amplitude, times the mean of the squared window, 3/8 on each axis.
    assert detail_energy(wave(0.3), NATIVE) == pytest.approx(100**2 / 2 * (3 / 8) ** 2, rel=0.02)


def test_an_enlarged_drawing_has_less_detail_and_another_texture_than_a_true_one():
    true, enlarged = drawing(1), drawing(1, NATIVE).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    assert detail_energy(enlarged, NATIVE) < 0.1 * detail_energy(true, NATIVE)
    rng = np.random.default_rng(0)
    truth = np.concatenate([fine_patches(drawing(seed), rng)[: PATCHES // 4] for seed in (2, 3, 4, 5)])
    same, blurred = (texture_distance(fine_patches(picture, rng), truth) for picture in (drawing(6), enlarged))
    assert texture_distance(truth, truth) == 0
    assert blurred > 1.3 * same


def test_fidelity_is_the_error_of_the_picture_averaged_down():
    native = Image.new("RGB", (64, 64), (100, 100, 100))
    assert fidelity(Image.new("RGB", (128, 128), (110, 110, 110)), native) == pytest.approx(20 * np.log10(255 / 10))
    checkered = np.full((128, 128, 3), 100, np.uint8)
    checkered[::2, ::2], checkered[1::2, 1::2] = 140, 80  # of each four pixels two are 100: their mean is 105
    assert fidelity(Image.fromarray(checkered), native) == pytest.approx(20 * np.log10(255 / 5))


def test_another_colour_is_one_that_differs_by_more_than_15_levels_in_any_channel():
    native = Image.new("RGB", (64, 64), (100, 100, 100))
    for colour, share in (((110, 90, 110), 0), ((100, 120, 100), 1)):
        assert off_colour(Image.new("RGB", (128, 128), colour), native) == share
    half = Image.new("RGB", (128, 128), (100, 100, 100))
    half.paste((100, 160, 100), (0, 0, 128, 64))
    assert off_colour(half, native) == pytest.approx(0.5, abs=0.1)
    assert off_colour(drawing(1), drawing(1, NATIVE)) < 0.02


def test_intervals():
    assert wilson(8, 10) == pytest.approx((0.490, 0.943), abs=5e-4)  # as in any table
    assert wilson(0, 16)[0] == 0 and wilson(16, 16)[1] == pytest.approx(1)
    low, high = bootstrap(np.random.default_rng(1).normal(5, 1, 400))
    assert low < 5 < high and high - low == pytest.approx(2 * 1.96 * (np.pi / 2 / 400) ** 0.5, rel=0.3)


def test_a_summary_counts_and_compares_with_the_truth(tmp_path):
    row = {"parts": (2, 1), "detail_energy": 1.0, "texture": 0.2, "fidelity_db": 30.0, "seconds": 4.0}
    seen = np.random.default_rng(0).normal(size=(16, 5, 8))
    row |= {"off_colour": 0.1, "commit": "abc", "whole": seen[0, :1], "crops": seen[0, 1:]}
    rows = [row, {**row, "parts": (4, 2), "seconds": 6.0}, {**row, "parts": (1, 1), "seconds": None}, row]
    rows = [{**row, "seed": seed, "whole": seen[seed, :1], "crops": seen[seed, 1:]} for seed, row in enumerate(rows)]
    truths = [{**row, "detail_energy": 10.0} for row in rows]
    figures = summary(rows, truths, [(each[:1], each[1:]) for each in seen[4:]])
    assert figures["pictures"] == 4 and figures["drawn_at"] == {"abc": 4}
    assert figures["one_character"]["value"] == 0.5
    assert figures["repeated_parts"]["value"] == 0.25
    assert figures["detail_db"] == {"value": -10, "interval": (-10, -10)}
    assert figures["kid"]["value"] == figures["kid_crops"]["value"] == 0, "its true drawings are the same"
    [line] = [line for line in table({"ours": figures}).splitlines() if line.startswith("| ours")]
    assert line.startswith("| ours | 4 | 50 % (15 … 85) | 25 % (5 … 70) | 10 % | ")
    assert line.endswith("| -10.0 | 0.20 | 30.0 | 4.0 (4.0 … 6.0) |")  # one picture was not timed
    for name in ("a", "b"):
        drawing(1, 64).save(tmp_path / f"{name}.png")
    assert contact_sheet({"x": [tmp_path / "a.png"] * 9, "y": [tmp_path / "b.png"]}).size == (6 * 164 + 4, 2 * (160 + 15 + 8))
