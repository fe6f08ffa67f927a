"""Captions and grids of pictures, drawn with Pillow."""

from bisect import bisect
from math import ceil

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

PAPER, INK = (24, 24, 27), (235, 235, 235)
CAPTION_HEIGHT, TEXT_HEIGHT, SMALLEST_TEXT = 1 / 12, 0.6, 8  # of the picture's width; of the caption's height; px


def captioned(image: torch.Tensor, text: str) -> torch.Tensor:
    """Pictures [B, H, W, C] with a line of text in a strip above: [B, strip + H, W, 3]."""
    batch, _, width, _ = image.shape
    height = max(round(width * CAPTION_HEIGHT), 2 * SMALLEST_TEXT)
    strip = Image.new("RGB", (width, height), PAPER)
    pen, room = ImageDraw.Draw(strip), 0.96 * width
    size = height * TEXT_HEIGHT
    font = ImageFont.load_default(size)
    # One line of what can be drawn; each letter takes a pixel at least.
    text = " ".join(text.encode("utf-8", "replace").decode().split())[: width + 1]
    if (wide := pen.textlength(text, font) / room) > 1:
        font = ImageFont.load_default(max(size / wide, SMALLEST_TEXT))
    if pen.textlength(text, font) > room:
        text = text[: bisect(range(1, len(text)), room, key=lambda length: pen.textlength(text[:length] + "…", font))] + "…"
    pen.text((width / 2, height / 2), text, INK, font, anchor="mm")
    above = torch.from_numpy(np.asarray(strip, np.float32) / 255).to(image)
    return torch.cat([above.expand(batch, -1, -1, -1), image[..., :3]], dim=1)


def grid(pictures: list[torch.Tensor], columns: int, cell: int) -> torch.Tensor:
    """One picture [1, H, W, 3] of pictures [h, w, C] in rows, each fitted into a cell of the same shape.

    `cell` is the longer side of the largest in px. A picture keeps its aspect ratio and is centred.
    """
    scale = cell / max(max(picture.shape[:2]) for picture in pictures)
    height, width = (max(round(scale * max(picture.shape[axis] for picture in pictures)), 1) for axis in (0, 1))
    gap = max(cell // 64, 1)
    rows = ceil(len(pictures) / columns)
    sheet = Image.new("RGB", (columns * (width + gap) + gap, rows * (height + gap) + gap), PAPER)
    for n, picture in enumerate(pictures):
        rgb = Image.fromarray((255 * picture[..., :3].float().cpu().clamp(0, 1)).round().byte().numpy())
        factor = min(width / rgb.width, height / rgb.height)
        fitted = rgb.resize((max(round(factor * rgb.width), 1), max(round(factor * rgb.height), 1)), Image.Resampling.LANCZOS)
        row, column = divmod(n, columns)
        x, y = gap + column * (width + gap), gap + row * (height + gap)
        sheet.paste(fitted, (x + (width - fitted.width) // 2, y + (height - fitted.height) // 2))
    return torch.from_numpy(np.asarray(sheet, np.float32) / 255)[None]
