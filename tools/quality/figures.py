"""What is measured of a picture: how many characters it holds, how crisp it is, how close it stays to the native picture."""

from collections.abc import Sequence

import numpy as np
from einops import rearrange
from PIL import Image
from scipy import ndimage, stats

PATCH, PATCHES, DIRECTIONS = 7, 4096, 256  # of the sliced Wasserstein distance (Karras et al. 2018, section 5)
FLAT, SEEN = 8, 15  # of 255 levels: less deviation than that is a flat area, and more difference in any channel another colour
MEADOW, DARKER = 0.27, 180  # turns of hue, and levels that no sky is darker than
RESAMPLES = 2000  # of the bootstrap


def parts(picture: Image.Image) -> tuple[int, int]:
    """(pupils, mouths) of an RGB drawing; one character has two and one."""
    rgb = np.asarray(picture, np.int16)
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    mouth = (red > 100) & (green < 0.32 * red) & (blue < 0.45 * red)
    pupil = rgb.max(-1) < 48
    gap = len(rgb) // 10  # teeth part a mouth
    return _blobs(pupil, 3e-5, 2), _blobs(mouth, 3e-5, gap)


def _blobs(mask: np.ndarray, least: float, gap: int) -> int:
    """Parts with at least this share of the picture's area; what is less than `gap` px apart is one part."""
    labels, number = ndimage.label(ndimage.distance_transform_edt(~mask) <= gap / 2)
    return int((ndimage.sum_labels(mask, labels, range(1, number + 1)) >= least * mask.size).sum())


def detail_energy(picture: Image.Image, native: int) -> float:
    """Energy per pixel above the Nyquist frequency of the native picture: what an enlargement alone cannot have."""
    grey = np.asarray(picture.convert("L"), float)
    side = len(grey)
    window = np.hanning(side)  # else the picture's border would count as detail
    spectrum = np.fft.fft2((grey - grey.mean()) * np.outer(window, window))
    frequency = np.abs(np.fft.fftfreq(side))  # cycles per px
    fine = np.maximum.outer(frequency, frequency) > native / side / 2
    return float((np.abs(spectrum[fine]) ** 2).sum() / side**4)


def fine_patches(picture: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """[PATCHES, 7·7·3] of the finest level of the picture's Laplacian pyramid, at places drawn from `rng`."""
    rgb = np.asarray(picture, float)
    coarse = ndimage.zoom(ndimage.zoom(ndimage.gaussian_filter(rgb, (1, 1, 0)), (0.5, 0.5, 1), order=1), (2, 2, 1), order=1)
    windows = np.lib.stride_tricks.sliding_window_view(rgb - coarse, (PATCH, PATCH), axis=(0, 1))
    y, x = (rng.integers(0, size, PATCHES) for size in windows.shape[:2])
    return rearrange(windows[y, x], "n c h w -> n (h w c)")


def texture_distance(patches: np.ndarray, truth: np.ndarray) -> float:
    """Sliced Wasserstein distance of two sets of patches, in standard deviations of the second."""
    directions = np.random.default_rng(0).normal(size=(patches.shape[1], DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    ours, theirs = (np.sort(rows @ directions, axis=0) for rows in (patches, truth))
    return float((np.abs(ours - theirs).mean(0) / theirs.std(0)).mean())


def fidelity(picture: Image.Image, native: Image.Image) -> float:
    """PSNR in dB of the picture, averaged down, against the native one."""
    return float(10 * np.log10(255**2 / ((_averaged(picture, native) - np.asarray(native, float)) ** 2).mean()))


def off_colour(picture: Image.Image, native: Image.Image) -> float:
    """Share of the native picture's flat areas that are of another colour in the picture, averaged down."""
    change = np.abs(_low(_averaged(picture, native)) - _low(np.asarray(native, float))).max(-1)
    return float((change[_flat(native)] > SEEN).mean())


def ghosts(picture: Image.Image, native: Image.Image) -> float:
    """Share of the native picture's flat areas in which the picture, averaged down, has something."""
    return float((_deviation(_averaged(picture, native))[_flat(native)] > 2 * FLAT).mean())


def grass(picture: Image.Image, native: Image.Image) -> float | None:
    """How much stands on the meadow, beside the native picture: deviation of what is green there; less than 1 is thinned.

    None where the native picture shows no meadow.
    """
    truth = np.asarray(native, float)
    hue, _, value = np.moveaxis(np.asarray(Image.fromarray(_low(truth).round().astype(np.uint8)).convert("HSV"), float), -1, 0)
    labels, _ = ndimage.label((np.abs(hue / 255 - MEADOW) < 0.03) & (value < DARKER))
    meadow = np.isin(labels, np.setdiff1d(labels[-1], 0))  # it reaches the lower edge; a hat of its colour does not
    if not meadow.any():
        return None
    theirs, ours = (_deviation(x)[meadow].mean() for x in (truth, _averaged(picture, native)))
    return float(ours / theirs)


def seams(picture: Image.Image, native: Image.Image) -> float:
    """The largest step across an upright line as long as half the native picture, in flat areas, in levels of 255."""
    steps, scale, length = np.diff(np.asarray(picture, float), axis=1), picture.width // native.width, native.height // 2
    flat = np.kron(_flat(native), np.ones((scale, scale)))
    flat = np.broadcast_to((flat[:, 1:] * flat[:, :-1])[..., None], steps.shape)
    step, weight = (
        ndimage.uniform_filter1d(x, length, axis=0, mode="constant")[length // 2 : -length // 2] for x in (steps * flat, flat)
    )
    return float(np.abs(step[weight > 0.9] / weight[weight > 0.9]).max(initial=0))


def _low(rgb: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(rgb, (4, 4, 0))


def _deviation(rgb: np.ndarray) -> np.ndarray:
    """Of each place's surroundings, all channels together: [H, W]."""
    return np.sqrt(_low((rgb - _low(rgb)) ** 2).sum(-1))


def _flat(native: Image.Image) -> np.ndarray:
    return _deviation(np.asarray(native, float)) < FLAT


def _averaged(picture: Image.Image, native: Image.Image) -> np.ndarray:
    return np.asarray(picture.reduce(picture.width // native.width), float)


def wilson(successes: int, number: int) -> tuple[float, float]:
    """95 % interval of a share, by Wilson's score."""
    low, high = stats.binomtest(successes, number).proportion_ci(method="wilson")
    return float(low), float(high)


def bootstrap(values: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the median; of one value, that value."""
    if len(values) == 1:
        return float(values[0]), float(values[0])
    found = stats.bootstrap((values,), np.median, n_resamples=RESAMPLES, method="percentile", rng=0)
    low, high = found.confidence_interval
    return float(low), float(high)
