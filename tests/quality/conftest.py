"""Counts what the demo model draws: a character has one mouth and two pupils."""

import numpy as np
import pytest
from scipy import ndimage


def _blobs(mask: np.ndarray, least: float, gap: int) -> int:
    """Parts with at least this share of the picture's area; what is less than `gap` px apart is one part."""
    labels, number = ndimage.label(ndimage.distance_transform_edt(~mask) <= gap / 2)
    return int((ndimage.sum_labels(mask, labels, range(1, number + 1)) >= least * mask.size).sum())


def _parts(picture) -> tuple[int, int]:
    rgb = np.asarray(picture, np.int16)
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    mouth = (red > 100) & (green < 0.32 * red) & (blue < 0.45 * red)
    pupil = rgb.max(-1) < 48
    gap = len(rgb) // 10  # teeth part a mouth
    return _blobs(pupil, 3e-5, 2), _blobs(mouth, 3e-5, gap)


@pytest.fixture(scope="session")
def parts():
    """Picture (RGB, PIL) → (pupils, mouths)."""
    return _parts
