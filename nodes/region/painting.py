"""The painted regions: their JSON format, version 1 (docs/regions.md), and how they become α."""

import itertools
import math
from typing import Annotated, Literal

import torch
from PIL import Image, ImageDraw, ImageFilter
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from ...freescale_core.detail import HIGHEST_DETAIL

UNITS = 10_000  # coordinates are in 1/10000 of the picture's width and height, radii of its longer side
LONGEST_TEXT = 2_000_000  # characters; an hour of painting has a tenth of it
MOST_SHAPES = 10_000
LARGEST_SIDE = 2048  # px of the drawn map: finer than the latent of a 16K picture
MOST_PIXELS = 5e8  # of all shapes' boxes together; a painting with more is drawn coarser
MOST_DISCS = 5e9  # px of the discs at all points of all strokes; an hour of painting has a fifth of it

Detail = Annotated[float, Field(ge=0, le=HIGHEST_DETAIL)]
Points = Annotated[list[Annotated[int, Field(ge=-4 * UNITS, le=4 * UNITS)]], Field(min_length=2)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Stroke(_Part):
    """A brush stroke through `points`: x, y of the first, then differences; with `pressure` also 0 … 100 for each."""

    kind: Literal["stroke"]
    detail: Detail | None  # None erases
    radius: Annotated[int, Field(ge=1, le=UNITS // 2)]
    hardness: Annotated[float, Field(ge=0, le=1)] = 1.0
    pressure: bool = False
    points: Points

    @model_validator(mode="after")
    def _whole_points(self) -> "Stroke":
        if len(self.points) % (3 if self.pressure else 2):
            raise ValueError("a point is incomplete")
        return self


class Outline(_Part):
    """A filled shape: two opposite corners, or the vertices of a lasso; the first absolute, then differences."""

    kind: Literal["rectangle", "ellipse", "lasso"]
    detail: Detail | None
    points: Points

    @model_validator(mode="after")
    def _whole_shape(self) -> "Outline":
        count = len(self.points)
        if count % 2 or (count < 6 if self.kind == "lasso" else count != 4):
            raise ValueError(f"a {self.kind} has {'three points or more' if self.kind == 'lasso' else 'two corners'}")
        return self


class Fill(_Part):
    """The whole picture."""

    kind: Literal["fill"]
    detail: Detail | None


class Invert(_Part):
    """Much becomes little: α → detail_inside + detail_outside − α."""

    kind: Literal["invert"]


Shape = Annotated[Stroke | Outline | Fill | Invert, Field(discriminator="kind")]


class Painting(_Part):
    """Shapes in the order they were painted; `aspect` is width / height of the picture they were painted on."""

    version: Literal[1]
    aspect: Annotated[float, Field(ge=0.01, le=100)] = 1.0
    shapes: Annotated[list[Shape], Field(max_length=MOST_SHAPES)]


def parse_painting(text: str) -> Painting:
    """Read the text of the `regions` widget, an empty one too; ValueError says what is wrong with which part."""
    if not text.strip():
        return Painting(version=1, shapes=[])
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"the painting has {len(text)} characters, {LONGEST_TEXT} at most. Paint it with fewer strokes")
    try:
        return Painting.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        if place == "version" and first["type"] == "literal_error":
            raise ValueError("it was painted with another version of FreeScale. Update the node pack") from None
        raise ValueError(
            f"this is not a painting ({place + ': ' if place else ''}{first['msg'].lower()}). Clear it, or paint it anew"
        ) from None


def painted_size(painting: Painting, height: int, width: int) -> tuple[int, int]:
    """(height, width) px at which a painting is drawn: LARGEST_SIDE at most, less where it would take too long."""
    boxes = (_box(shape, height, width) for shape in painting.shapes)
    pixels = sum((right - left) * (lower - upper) for left, upper, right, lower in boxes)
    strokes = [shape for shape in painting.shapes if shape.kind == "stroke"]
    discs = sum(len(shape.points) / 2 * (2 * _brush(shape, height, width)[0]) ** 2 for shape in strokes)
    scale = min(
        1.0, LARGEST_SIDE / max(height, width), math.sqrt(MOST_PIXELS / max(pixels, 1)), math.sqrt(MOST_DISCS / max(discs, 1))
    )
    return max(1, round(height * scale)), max(1, round(width * scale))


def paint(painting: Painting, alpha: Tensor, mask: Tensor, inside: float, outside: float) -> tuple[Tensor, Tensor]:
    """α and mask, both [B, H, W], after the painting; `mask` is 1 where something is painted."""
    alpha, mask = alpha.clone(), mask.clone()
    for shape in painting.shapes:
        if shape.kind == "invert":
            alpha = (inside + outside - alpha).clamp(0, HIGHEST_DETAIL)
            mask = 1 - mask
            continue
        touched = _coverage(shape, *alpha.shape[1:])
        if touched is None:
            continue
        rows, columns, coverage = touched
        below, under = alpha[:, rows, columns], mask[:, rows, columns]
        below.lerp_(torch.tensor(outside if shape.detail is None else shape.detail).expand_as(below), coverage)
        under.lerp_(torch.tensor(float(shape.detail is not None)).expand_as(under), coverage)
    return alpha, mask


def _coverage(shape: Stroke | Outline | Fill, height: int, width: int) -> tuple[slice, slice, Tensor] | None:
    """(rows, columns, coverage 0 … 1 of them) where the shape touches the picture, None where it is beyond."""
    left, upper, right, lower = _box(shape, height, width)
    rows, columns = slice(max(upper, 0), min(lower, height)), slice(max(left, 0), min(right, width))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return None
    if shape.kind == "fill":
        return rows, columns, torch.ones(())
    drawn = _draw(shape, height, width, (left, upper, right, lower))
    drawn = drawn.crop((columns.start - left, rows.start - upper, columns.stop - left, rows.stop - upper))
    values = torch.frombuffer(bytearray(drawn.tobytes()), dtype=torch.uint8).view(drawn.height, drawn.width)
    return rows, columns, values / 255


def _draw(shape: Stroke | Outline, height: int, width: int, box: tuple[int, int, int, int]) -> Image.Image:
    """The shape in its box, antialiased, white on black."""
    left, upper, right, lower = box
    finer = max(2, min(8, 2 * LARGEST_SIDE // max(right - left, lower - upper)))  # Pillow draws without antialiasing
    image = Image.new("L", ((right - left) * finer, (lower - upper) * finer))
    draw = ImageDraw.Draw(image)
    # Pillow counts from pixels' centres and cuts fractions off: half a pixel less, and half a pixel to round, are none.
    # It draws the outermost pixels whole: strokes and boxes get half a pixel less all around.
    points = [((x - left) * finer, (y - upper) * finer) for x, y in _vertices(shape, height, width)]
    if shape.kind == "stroke":
        solid, blur = _brush(shape, height, width)
        radii = [max(0.0, finer * solid * pressure - 0.5) for pressure in _pressures(shape)]
        for (x, y), radius in zip(points, radii, strict=True):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
        for start, end, *ends in zip(points, points[1:], radii, radii[1:], strict=False):
            draw.polygon(_quad(start, end, *ends), fill=255)
        return image.reduce(finer).filter(ImageFilter.GaussianBlur(blur))
    if shape.kind == "lasso":
        draw.polygon(points, fill=255)
    else:
        (x0, x1), (y0, y1) = (sorted(side) for side in zip(points[0], points[-1], strict=True))
        if x1 - x0 >= 1 and y1 - y0 >= 1:
            (draw.rectangle if shape.kind == "rectangle" else draw.ellipse)((x0 + 0.5, y0 + 0.5, x1 - 0.5, y1 - 0.5), fill=255)
    return image.reduce(finer)


def _brush(shape: Stroke, height: int, width: int) -> tuple[float, float]:
    """(radius of the solid brush, deviation of its blur) px: together they fade out at the stroke's radius."""
    radius = shape.radius / UNITS * max(height, width)
    return radius * (1 + shape.hardness) / 2, radius * (1 - shape.hardness) / 4


def _quad(
    start: tuple[float, float], end: tuple[float, float], start_radius: float, end_radius: float
) -> list[tuple[float, float]]:
    """The part of a stroke between the discs at two of its points."""
    (x0, y0), (x1, y1) = start, end
    length = math.hypot(x1 - x0, y1 - y0) or 1.0
    nx, ny = (y0 - y1) / length, (x1 - x0) / length
    return [
        (x0 + nx * start_radius, y0 + ny * start_radius),
        (x1 + nx * end_radius, y1 + ny * end_radius),
        (x1 - nx * end_radius, y1 - ny * end_radius),
        (x0 - nx * start_radius, y0 - ny * start_radius),
    ]


def _vertices(shape: Stroke | Outline, height: int, width: int) -> list[tuple[float, float]]:
    """The points in px, from their differences."""
    stride = 3 if getattr(shape, "pressure", False) else 2
    xs, ys = (itertools.accumulate(shape.points[axis::stride]) for axis in (0, 1))
    return [(x / UNITS * width, y / UNITS * height) for x, y in zip(xs, ys, strict=False)]


def _pressures(shape: Stroke) -> list[float]:
    """The pen's pressure 0 … 1 at each point."""
    if not shape.pressure:
        return [1.0] * (len(shape.points) // 2)
    return [min(max(pressure, 0), 100) / 100 for pressure in shape.points[2::3]]


def _box(shape: Stroke | Outline | Fill | Invert, height: int, width: int) -> tuple[int, int, int, int]:
    """(left, upper, right, lower) px that the shape touches: of the picture, and around it what its blur reaches."""
    if isinstance(shape, Fill | Invert):
        return 0, 0, width, height
    solid, blur = _brush(shape, height, width) if shape.kind == "stroke" else (0.0, 0.0)
    around, margin = math.ceil(3 * blur), solid + 3 * blur + 1
    xs, ys = zip(*_vertices(shape, height, width), strict=True)
    left, right = max(math.floor(min(xs) - margin), -around), min(math.ceil(max(xs) + margin), width + around)
    upper, lower = max(math.floor(min(ys) - margin), -around), min(math.ceil(max(ys) + margin), height + around)
    return left, upper, max(left, right), max(upper, lower)
