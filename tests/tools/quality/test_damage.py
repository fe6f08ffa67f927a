"""Every figure of `dev.py quality` puts known damage of true drawings in order: KID all of it, the others their own."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from features import SIDE, WIDTHS, excess_kid, kid, seen_in
from figures import detail_energy, fidelity, fine_patches, ghosts, grass, off_colour, parts, seams, texture_distance
from PIL import Image, ImageFilter

from tools.demo_model.scenes import Scene, View, random_scene, random_view, render

LARGE, DRAWINGS = 2 * SIDE, 40
STRENGTHS = (0, 1, 2, 3)

Drawing = tuple[Scene, View]


def drawings(first: int) -> list[Drawing]:
    rngs = [np.random.default_rng(first + n) for n in range(DRAWINGS)]
    return [(random_scene(rng, hat=n % 2 == 0), random_view(rng, "portrait")) for n, rng in enumerate(rngs)]


def plain(scene: Scene, view: View) -> Image.Image:
    return render(scene, view, LARGE)


def blurred(scene: Scene, view: View, strength: int) -> Image.Image:
    return plain(scene, view).filter(ImageFilter.GaussianBlur(strength * 0.5))


def with_seams(scene: Scene, view: View, strength: int) -> Image.Image:
    """Every other square of half the native size is brighter."""
    pixels = np.asarray(plain(scene, view), np.int16)
    window = np.add.outer(*[np.arange(LARGE) // (SIDE // 2)] * 2) % 2
    return Image.fromarray((pixels + strength * 6 * window[..., None]).clip(0, 255).astype(np.uint8))


def of_another_hue(scene: Scene, view: View, strength: int) -> Image.Image:
    hue, *others = plain(scene, view).convert("HSV").split()
    return Image.merge("HSV", [hue.point(lambda value: (value + strength * 8) % 256), *others]).convert("RGB")


def with_more_eyes(scene: Scene, view: View, strength: int) -> Image.Image:
    """The left eye, again in as many places as its strength."""
    picture, rng = plain(scene, view), np.random.default_rng(0)
    scale = LARGE / view.width
    x, y = (-0.38 - view.x) * scale + LARGE / 2, (-0.14 - view.y) * scale + LARGE / 2
    half = 0.25 * scale
    eye = picture.crop(tuple(round(edge) for edge in (x - half, y - half, x + half, y + half)))
    for _ in range(strength):
        picture.paste(eye, tuple(int(place) for place in rng.uniform(0, LARGE - 2 * half, 2)))
    return picture


def with_thinner_grass(scene: Scene, view: View, strength: int) -> Image.Image:
    return plain(replace(scene, tufts=scene.tufts[:: strength + 1]), view)


@pytest.fixture(scope="module")
def reference():
    """Features of true drawings, whole and in crops."""
    return list(zip(*(seen_in(plain(*drawing)) for drawing in drawings(1000))))


@pytest.mark.parametrize("damage", [blurred, with_seams, of_another_hue, with_more_eyes, with_thinner_grass])
def test_more_damage_is_farther_from_the_truth(reference, damage: Callable[[Scene, View, int], Image.Image]):
    seen = [[seen_in(damage(*drawing, strength)) for drawing in drawings(0)] for strength in STRENGTHS]
    for part, true in enumerate(reference):
        found = [kid([picture[part] for picture in pictures], true) for pictures in seen]
        assert found == sorted(set(found)), f"KID of {('whole pictures', 'crops')[part]}: {found}"


def pupils(picture: Image.Image, native: Image.Image) -> int:
    return parts(picture)[0]


def sharpness(picture: Image.Image, native: Image.Image) -> float:
    return -detail_energy(picture, SIDE)


@cache
def true_patches() -> np.ndarray:
    return np.concatenate([fine_patches(plain(*drawing), np.random.default_rng(0))[:512] for drawing in drawings(1000)[:8]])


def texture(picture: Image.Image, native: Image.Image) -> float:
    return texture_distance(fine_patches(picture, np.random.default_rng(1)), true_patches())


def thinness(picture: Image.Image, native: Image.Image) -> float:
    return -grass(picture, native)


def distance(picture: Image.Image, native: Image.Image) -> float:
    return -fidelity(picture, native)


@pytest.mark.parametrize(
    ("figure", "damages"),
    [
        (sharpness, [blurred]),
        (texture, [blurred]),
        (pupils, [with_more_eyes]),
        (ghosts, [with_more_eyes]),
        (off_colour, [of_another_hue]),
        (seams, [with_seams]),
        (thinness, [with_thinner_grass]),
        (distance, [blurred, with_seams, of_another_hue, with_more_eyes, with_thinner_grass]),
    ],
)
def test_more_damage_is_a_larger_figure(figure, damages):
    """In the mean of the drawings, beside the undamaged one at the native size."""
    pairs = [(drawing, render(*drawing, SIDE)) for drawing in drawings(0)[:12]]
    for damage in damages:
        found = [np.mean([figure(damage(*drawing, strength), native) for drawing, native in pairs]) for strength in STRENGTHS]
        assert found == sorted(set(found)), f"{damage.__name__}: {found}"


@pytest.mark.parametrize("hue", [0.3, 0.77])  # a sky as green as the meadow; a hat
def test_grass_is_counted_on_the_meadow_alone(hue):
    scenes = [(replace(scene, hat=True, hue=hue), view) for scene, view in drawings(0)[:6]]
    for scene, view in scenes:
        bare = replace(scene, tufts=())
        assert grass(render(bare, view, LARGE), render(scene, view, SIDE)) < 0.7
        assert grass(render(replace(scene, hue=0.55), view, LARGE), render(scene, view, SIDE)) == pytest.approx(1, abs=0.1)
    assert grass(Image.new("RGB", (LARGE,) * 2, "blue"), Image.new("RGB", (SIDE,) * 2, "blue")) is None


def test_excess_is_that_over_true_drawings_of_the_same_seeds():
    """Its interval holds the truth as often as it says, and leaves it where pictures differ."""
    rng, dimensions = np.random.default_rng(3), sum(WIDTHS)
    draw = lambda pictures, by=0.0: list(rng.normal(by, 1, (pictures, 1, dimensions)))  # noqa: E731
    reference, held = draw(40), 0
    for _ in range(100):
        low, high = excess_kid(draw(6), draw(6), reference)["interval"]
        held += low < 0 < high
    assert held >= 88
    assert excess_kid(draw(30, 0.5), draw(30), reference)["interval"][0] > 0
    same = draw(5)
    assert excess_kid(same, same, reference) == {"value": 0, "interval": (0, 0)}
    assert excess_kid(draw(2), draw(2), reference) is None
