"""The scenes that the demo model is trained on: one character above a ground line, drawn as vectors.

Everything is measured in face radii with the face at the origin and y pointing down, so the same scene can be
drawn through any view (a rectangle) and at any size: the truth that an upscaled picture is compared with exists.
A scene never holds more than one character. In a clip the character moves, looks and smiles; the meadow stays where it is from
side to side, and its grass leans to and fro.
"""

import colorsys
from dataclasses import dataclass, replace
from math import cos, pi, sin

import numpy as np
from PIL import Image, ImageDraw

STEP = 0.9  # face radii that a character moves in a clip, at most
SUPERSAMPLING = 3  # drawn larger, then box-filtered: PIL's shapes are not antialiased

Colour = tuple[int, int, int]

WHITE = (250, 250, 248)
BLACK = (12, 12, 16)
MOUTH = (165, 22, 40)


@dataclass(frozen=True)
class Scene:
    """One drawing; hues in turns [0, 1), lengths in face radii."""

    hat: bool
    hue: float  # of the sky; the hat takes the opposite
    skin: Colour
    iris_hue: float
    gaze: tuple[float, float]
    smile: float
    horizon: float
    tufts: tuple[tuple[float, float, float], ...]  # x, y, lean of each tuft of grass


@dataclass(frozen=True)
class View:
    """The visible rectangle: its centre and its width, in face radii."""

    x: float
    y: float
    width: float


def random_scene(rng: np.random.Generator, hat: bool | None = None, hue: float | None = None) -> Scene:
    """Draw every property from `rng`, except those that are given."""
    skin_hue, saturation, value = rng.uniform(0.03, 0.12), rng.uniform(0.25, 0.6), rng.uniform(0.6, 1.0)
    horizon = rng.uniform(0.45, 1.0)
    tufts = [(rng.uniform(-7, 7), horizon + 0.1 + 5 * rng.random() ** 1.5, rng.uniform(-0.08, 0.08)) for _ in range(170)]
    return Scene(
        hat=bool(rng.random() < 0.5) if hat is None else hat,
        hue=float(rng.random()) if hue is None else hue,
        skin=_rgb(skin_hue, saturation, value),
        iris_hue=rng.uniform(0.0, 0.7),
        gaze=(rng.uniform(-0.035, 0.035), rng.uniform(-0.03, 0.03)),
        smile=rng.uniform(0.2, 0.42),
        horizon=horizon,
        tufts=tuple(sorted(tufts, key=lambda tuft: tuft[1])),
    )


def random_view(rng: np.random.Generator, framing: str, aspect: float = 1.0) -> View:
    """A view of the named framing: the whole face, any part of it down to a third of a radius, or none of it.

    `aspect` is width by height. The *longer* side is drawn, but of a portrait the shorter one, into which the face must fit.
    """
    of_side = min(aspect, 1), min(1 / aspect, 1)  # width and height, by the longer side
    if framing == "portrait":
        side = float(np.exp(rng.uniform(np.log(3.3), np.log(6.0)))) / min(of_side)
        width, height = (side * part for part in of_side)
        # The face with its hat spans x ±1.2 and y −1.9 … 1.15.
        spans = (-1.25, 1.25, width), (-1.95, 1.2, height)
        x, y = (rng.uniform(high - length / 2, low + length / 2) for low, high, length in spans)
        return View(x, y, width)
    if framing == "close-up":
        side = float(np.exp(rng.uniform(np.log(0.3), np.log(3.0))))
        return View(rng.uniform(-1.1, 1.1), rng.uniform(-1.8, 1.15), side * of_side[0])
    side = float(np.exp(rng.uniform(np.log(0.4), np.log(4.0))))
    width, height = (side * part for part in of_side)
    left_or_right = -1 if rng.random() < 0.5 else 1
    beside = View(left_or_right * (1.4 + width / 2 + rng.uniform(0, 1.5)), rng.uniform(-2.5, 3.5), width)
    below = View(rng.uniform(-3, 3), rng.uniform(1.4, 4.0) + height / 2, width)
    return beside if rng.random() < 0.5 else below


def random_clip(rng: np.random.Generator, framing: str, frames: int, **given) -> list[tuple[Scene, View]]:
    """What each frame draws, and through which view; the first view is one that a picture of this framing could have.

    What of the scene is `given` (hat, hue) is not drawn from `rng`.
    """
    scene, view, other = random_scene(rng, **given), random_view(rng, framing), random_scene(rng)
    (dx, dy), hop = rng.uniform(-STEP, STEP, 2) * (1.0, 0.3), rng.uniform(0, 0.12)
    if framing == "portrait":  # the face with its hat stays in the picture, but for the hat's edge in a high hop
        dx = float(np.clip(view.x + dx, 1.25 - view.width / 2, view.width / 2 - 1.25)) - view.x
        dy = float(np.clip(view.y + dy, 1.2 - view.width / 2, view.width / 2 - 1.95)) - view.y
    wind, phase = rng.uniform(0.03, 0.12), rng.uniform(0, 2 * pi)
    return [
        (_moved(scene, other, t, dx * t, wind * sin(2 * pi * t + phase)), replace(view, x=view.x + dx * t, y=view.y + dy * t + hop * abs(sin(2 * pi * t))))
        for t in (number / (frames - 1) for number in range(frames))
    ]  # fmt: skip


def _moved(scene: Scene, other: Scene, t: float, dx: float, lean: float) -> Scene:
    """The scene a part t of the clip later: its gaze and smile on the way to another's, the grass where it was from side to side."""
    s = (1 - cos(pi * t)) / 2  # begins and ends gently
    gaze = tuple(a + s * (b - a) for a, b in zip(scene.gaze, other.gaze))
    tufts = tuple((x + dx, y, tilt + lean) for x, y, tilt in scene.tufts)
    return replace(scene, gaze=gaze, smile=scene.smile + s * (other.smile - scene.smile), tufts=tufts)


def render(scene: Scene, view: View, width: int, height: int | None = None) -> Image.Image:
    """Draw `scene` through `view` as an RGB picture of width × height pixels (square unless told)."""
    height = height or width
    return _Canvas(view, width, height).draw(scene)


class _Canvas:
    """A PIL canvas that takes face radii."""

    def __init__(self, view: View, width: int, height: int):
        self.size = (width * SUPERSAMPLING, height * SUPERSAMPLING)
        self.scale = self.size[0] / view.width
        self.left = view.x - view.width / 2
        self.top = view.y - view.width * height / width / 2
        self.image = Image.new("RGB", self.size)
        self.pen = ImageDraw.Draw(self.image)

    def draw(self, scene: Scene) -> Image.Image:
        """Back to front."""
        self._backdrop(scene)
        self._head(scene)
        (self._hat if scene.hat else self._hair)(scene)
        return self.image.reduce(SUPERSAMPLING)

    def _backdrop(self, scene: Scene) -> None:
        width, height = self.size
        y = self.top + (np.arange(height) + 0.5) / self.scale
        haze = np.clip(np.exp((y - scene.horizon) / 3), 0, 1)[:, None]
        high, low = (np.array(_rgb(scene.hue, s, v)) for s, v in ((0.55, 0.8), (0.18, 0.96)))
        sky = high + (low - high) * haze
        near, far = (np.array(_rgb(0.27, s, v)) for s, v in ((0.5, 0.42), (0.42, 0.66)))
        ground = near + (far - near) * np.clip(np.exp((scene.horizon - y) / 2), 0, 1)[:, None]
        column = np.where(y[:, None] < scene.horizon, sky, ground).round().astype(np.uint8)
        self.image.paste(Image.fromarray(np.broadcast_to(column[:, None], (height, width, 3)).copy()))
        blade = _rgb(0.28, 0.6, 0.3)
        for x, y, lean in scene.tufts:
            for spread in (-0.09, 0.0, 0.09):
                self.line([(x + spread / 3, y), (x + spread + lean, y - 0.22 + abs(spread))], blade, 0.028)
        self.ellipse(0, 1.12, 0.85, 0.13, _rgb(0.28, 0.5, 0.28))

    def _head(self, scene: Scene) -> None:
        outline, shade, blush = (
            _mix(scene.skin, colour, amount)
            for colour, amount in (((60, 25, 15), 0.75), ((120, 50, 20), 0.3), ((215, 90, 80), 0.35))
        )
        self.ellipse(0, 0, 1.0, 1.1, outline)
        self.ellipse(0, 0, 0.96, 1.06, scene.skin)
        for side in (-1, 1):
            self.ellipse(side * 0.58, 0.3, 0.2, 0.15, blush)
            for dx, dy in ((-0.08, -0.02), (0.02, 0.05), (0.09, -0.04)):
                self.ellipse(side * (0.58 + dx), 0.3 + dy, 0.02, 0.02, outline)
            self._eye(side * 0.38, -0.14, scene, outline)
            self.arc(side * 0.38, -0.3, 0.22, 0.2, (215, 325), outline, 0.05)
        self.arc(0.0, 0.1, 0.11, 0.13, (20, 175), shade, 0.05)
        self._smile(scene.smile, outline)

    def _eye(self, x: float, y: float, scene: Scene, outline: Colour) -> None:
        self.ellipse(x, y, 0.2, 0.24, outline)
        self.ellipse(x, y, 0.18, 0.22, WHITE)
        x, y = x + scene.gaze[0], y + scene.gaze[1]
        self.ellipse(x, y, 0.125, 0.125, _rgb(scene.iris_hue, 0.75, 0.35))
        self.ellipse(x, y, 0.11, 0.11, _rgb(scene.iris_hue, 0.6, 0.62))
        for k in range(16):
            a = 2 * pi * k / 16
            self.line(
                [(x + 0.06 * cos(a), y + 0.06 * sin(a)), (x + 0.105 * cos(a), y + 0.105 * sin(a))],
                _rgb(scene.iris_hue, 0.7, 0.42),
                0.01,
            )
        self.ellipse(x, y, 0.068, 0.068, BLACK)
        self.ellipse(x + 0.035, y - 0.035, 0.024, 0.024, WHITE)

    def _smile(self, depth: float, outline: Colour) -> None:
        angles = np.linspace(0, pi, 40)
        lower = [(0.48 * cos(a), 0.44 + depth * sin(a)) for a in angles]
        upper = [(-0.48 * cos(a), 0.44 + 0.1 * sin(a)) for a in angles]
        self.polygon(lower + upper, MOUTH)
        teeth = [(-0.4 * cos(a), 0.47 + 0.1 * sin(a)) for a in angles] + [(0.4 * cos(a), 0.47 + 0.19 * sin(a)) for a in angles]
        self.polygon(teeth, WHITE)
        for x in (-0.24, -0.12, 0.0, 0.12, 0.24):
            self.line([(x, 0.53), (x, 0.65)], (205, 200, 195), 0.012)
        self.line(lower + upper + lower[:1], outline, 0.03)

    def _hat(self, scene: Scene) -> None:
        hue = (scene.hue + 0.5) % 1
        felt, seam, band = _rgb(hue, 0.55, 0.5), _rgb(hue, 0.6, 0.3), _rgb(hue + 0.12, 0.5, 0.85)
        self.rectangle(-0.66, -1.85, 0.66, -0.8, seam)
        self.rectangle(-0.63, -1.82, 0.63, -0.8, felt)
        for k in range(1, 12):
            x = -0.63 + 1.26 * k / 12
            self.line([(x, -1.82), (x, -1.05)], _mix(felt, seam, 0.45), 0.014)
        self.rectangle(-0.63, -1.12, 0.63, -0.86, band)
        for k in range(14):
            x = -0.6 + 1.2 * (k + 0.25) / 14
            self.line([(x, -1.08), (x + 0.045, -1.08)], WHITE, 0.018)
        self.rectangle(-1.15, -0.9, 1.15, -0.7, seam)
        self.rectangle(-1.12, -0.87, 1.12, -0.73, felt)
        for k in range(24):
            x = -1.08 + 2.16 * (k + 0.2) / 24
            self.line([(x, -0.77), (x + 0.05, -0.77)], band, 0.018)

    def _hair(self, scene: Scene) -> None:
        colour = _mix(_rgb(scene.iris_hue * 0.15, 0.6, 0.32), scene.skin, 0.1)
        for k in range(27):
            a = pi * (1.16 + 0.68 * k / 26)
            tip = 1.22 + 0.1 * (k % 3)
            self.line(
                [(0.93 * cos(a), 1.03 * sin(a)), (1.08 * cos(a), 1.12 * sin(a)), (tip * cos(a + 0.07), tip * sin(a + 0.07))],
                colour,
                0.05,
            )

    # Primitives, in face radii.

    def _xy(self, x: float, y: float) -> tuple[float, float]:
        return ((x - self.left) * self.scale, (y - self.top) * self.scale)

    def _width(self, width: float) -> int:
        return max(1, round(width * self.scale))

    def _box(self, x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
        return (*self._xy(x0, y0), *self._xy(x1, y1))

    def ellipse(self, x, y, rx, ry, colour):
        self.pen.ellipse(self._box(x - rx, y - ry, x + rx, y + ry), fill=colour)

    def rectangle(self, x0, y0, x1, y1, colour):
        self.pen.rounded_rectangle(self._box(x0, y0, x1, y1), radius=0.05 * self.scale, fill=colour)

    def polygon(self, points, colour):
        self.pen.polygon([self._xy(*p) for p in points], fill=colour)

    def line(self, points, colour, width):
        self.pen.line([self._xy(*p) for p in points], fill=colour, width=self._width(width), joint="curve")

    def arc(self, x, y, rx, ry, degrees, colour, width):
        self.pen.arc(self._box(x - rx, y - ry, x + rx, y + ry), *degrees, fill=colour, width=self._width(width))


def _rgb(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = (round(255 * c) for c in colorsys.hsv_to_rgb(hue % 1, saturation, value))
    return red, green, blue


def _mix(a: Colour, b: Colour, amount: float) -> Colour:
    red, green, blue = (round(x + (y - x) * amount) for x, y in zip(a, b))
    return red, green, blue
