"""Draw the registry's icon and banner beside this file: the demo model's scene, growing from a few pixels to a whole view."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent.parent / "tools" / "demo_model"))

from scenes import Scene, View, random_scene, render  # noqa: E402

ICON, BANNER = (400, 400), (1260, 540)  # px; the registry takes icons up to 400 × 400 and banners of 21:9
FINER = 2  # frames and corners are drawn larger, then averaged
WHITE, SHADOW = (255, 255, 255, 255), (20, 24, 40, 110)
SQUARE = View(0.0, -0.35, 3.3)


def scene() -> Scene:
    """The character of both pictures."""
    return random_scene(np.random.default_rng(7), hat=True, hue=0.57)


def coarse(view: View, cells: int, side: int) -> Image.Image:
    """The square view as a picture of so few pixels, shown large."""
    return render(scene(), view, cells).resize((side, side), Image.Resampling.NEAREST)


def framed(sheet: Image.Image, picture: Image.Image, corner: tuple[int, int], line: int) -> None:
    """Paste a picture with a white frame and a soft edge around it."""
    (x, y), (width, height) = corner, picture.size
    ImageDraw.Draw(sheet, "RGBA").rectangle((x - line - 3, y - line - 3, x + width + line + 2, y + height + line + 2), SHADOW)
    ImageDraw.Draw(sheet).rectangle((x - line, y - line, x + width + line - 1, y + height + line - 1), WHITE)
    sheet.paste(picture, corner)


def rounded(picture: Image.Image, radius: int) -> Image.Image:
    """The picture with transparent corners."""
    width, height = picture.size
    mask = Image.new("L", (FINER * width, FINER * height))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, FINER * width - 1, FINER * height - 1), FINER * radius, 255)
    picture = picture.convert("RGBA")
    picture.putalpha(mask.reduce(FINER))
    return picture


def icon() -> Image.Image:
    """A sharp face, and in its corner the small picture that it grew from."""
    sheet = render(scene(), View(-0.3, -0.4, 3.2), *ICON)
    side = 120
    framed(sheet, coarse(SQUARE, 15, side), (30, ICON[1] - side - 30), 12)
    return rounded(sheet, 84)


def banner() -> Image.Image:
    """One character in a wide view, under overlapping windows, beside the two smaller pictures that it grew from."""
    width, height = BANNER
    sheet = render(scene(), View(-2.05, -0.36, 8.0), width, height)
    left, bottom = 60, height - 48
    for cells, side in ((12, 96), (36, 180)):
        framed(sheet, coarse(SQUARE, cells, side), (left, bottom - side), 7)
        left += side + 44
    windows(sheet, (709, 26), 488)
    pen = ImageDraw.Draw(sheet)
    for text, y, size in (("FreeScale", 118, 124), ("2K, 4K and 8K from models trained at 1K", 218, 31)):
        font = ImageFont.load_default(size)
        pen.text((55 + size // 30, y + size // 30), text, (44, 78, 122), font, anchor="lm")
        pen.text((55, y), text, WHITE, font, anchor="lm")
    return sheet


def windows(sheet: Image.Image, corner: tuple[int, int], side: int) -> None:
    """The frames of overlapping windows on the diagonal of a square, each half as wide."""
    pen, size = ImageDraw.Draw(sheet, "RGBA"), side // 2
    for n in range(3):
        x, y = (start + n * size // 2 for start in corner)
        pen.rectangle((x, y, x + size, y + size), outline=(255, 255, 255, 190), width=4)


if __name__ == "__main__":
    icon().save(FOLDER / "icon.png", optimize=True)
    banner().save(FOLDER / "banner.png", optimize=True)
