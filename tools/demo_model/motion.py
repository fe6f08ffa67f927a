"""The clips that the demo model's motion layers are trained on: a drawn scene whose character moves, looks and smiles.

The meadow stays where it is, and its grass leans to and fro.
"""

from dataclasses import replace
from math import cos, pi, sin

import numpy as np
from scenes import Scene, View, random_scene, random_view

STEP = 1.2  # face radii that a character moves in a clip, at most


def random_clip(rng: np.random.Generator, framing: str, frames: int) -> list[tuple[Scene, View]]:
    """What each frame draws, and through which view; the first view is one that a picture of this framing could have."""
    scene, view, other = random_scene(rng), random_view(rng, framing), random_scene(rng)
    (dx, dy), hop = rng.uniform(-STEP, STEP, 2) * (1.0, 0.3), rng.uniform(0, 0.12)
    if framing == "portrait":  # the face with its hat stays in the picture
        dx = float(np.clip(view.x + dx, 1.25 - view.width / 2, view.width / 2 - 1.25)) - view.x
        dy = float(np.clip(view.y + dy, 1.2 - view.width / 2, view.width / 2 - 1.95)) - view.y
    wind, phase = rng.uniform(0.03, 0.12), rng.uniform(0, 2 * pi)
    return [
        (_moved(scene, other, t, dx * t, wind * sin(2 * pi * t + phase)), replace(view, x=view.x + dx * t, y=view.y + dy * t + hop * abs(sin(2 * pi * t))))
        for t in (number / (frames - 1) for number in range(frames))
    ]  # fmt: skip


def _moved(scene: Scene, other: Scene, t: float, dx: float, lean: float) -> Scene:
    """The scene a part t of the clip later: its gaze and smile on the way to another's, the grass where it was in the picture."""
    s = (1 - cos(pi * t)) / 2  # begins and ends gently
    gaze = tuple(a + s * (b - a) for a, b in zip(scene.gaze, other.gaze))
    tufts = tuple((x + dx, y, tilt + lean) for x, y, tilt in scene.tufts)
    return replace(scene, gaze=gaze, smile=scene.smile + s * (other.smile - scene.smile), tufts=tufts)
