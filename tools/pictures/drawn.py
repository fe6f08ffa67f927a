"""Sheets of pictures by the embedded demo model, for the help pages and for docs/settings.md."""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "quality"))

# isort: split
from drawing import FLUX, NATIVE, NATIVE_PICTURE, U_NET, Picture  # noqa: E402
from freescale.nodes.compare.contact_sheet import INK, PAPER  # noqa: E402
from PIL import Image, ImageDraw, ImageFont  # noqa: E402

PX, CAPTION, TEXT, GAP = 320, 50, 34, 6  # the app's help panel is narrow: large letters, few pictures in a row
WHOLE = (0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Panel:
    """A square part of a picture: `part` is (left, top, side) as shares of the picture's side."""

    label: str
    method: str = "FreeScale"
    side: int = 512
    seed: int = 2
    part: tuple[float, float, float] = WHOLE
    network: str = U_NET

    def picture(self, folder: Path, commit: str = "") -> Picture:
        return Picture(folder, self.network, commit, self.method, self.side, self.seed)

    def image(self, folder: Path) -> Image.Image:
        return part_of(Image.open(self.picture(folder).path).convert("RGB"), self.part, PX)


def part_of(picture: Image.Image, part: tuple[float, float, float], px: int) -> Image.Image:
    """A square part at px × px."""
    left, top, side = (share * picture.width for share in part)
    return picture.resize((px, px), Image.Resampling.LANCZOS, (left, top, left + side, top + side))


def rivals(name: str) -> list[Panel]:
    return [Panel("direct", "direct"), Panel(name, name), Panel("FreeScale")]


HAIR, CHIN, MEADOW, TOP, HAT = (0.08, 0.12, 0.28), (0.03, 0.42, 0.27), (0.02, 0.22, 0.55), (0.15, 0.0, 0.6), (0.35, 0.05, 0.6)
PROOF = (("direct", "direct"), ("cascade alone", "without Scale Fusion"), ("FreeScale", "FreeScale"))
SHEETS: dict[str, list[Panel]] = {
    "docs/images/proof.jpg": [Panel(label, method, 1024, 1, network=FLUX) for label, method in PROOF],
    "js/docs/demo.jpg": [Panel(f"seed {seed}", NATIVE_PICTURE, NATIVE, seed) for seed in (0, 1, 2, 5)],
    "js/docs/cascade.jpg": [
        Panel("256 px", NATIVE_PICTURE, NATIVE, part=HAIR),
        Panel("512 px", part=HAIR),
        Panel("1024 px", side=1024, part=HAIR),
    ],
    "js/docs/fusion.jpg": [
        Panel("without", "without Scale Fusion", 1024, part=MEADOW),
        Panel("with Scale Fusion", side=1024, part=MEADOW),
    ],
    "js/docs/dilation.jpg": [Panel("direct", "direct"), Panel("dilated", "direct, dilated")],
    "js/docs/alpha.jpg": [
        Panel(f"detail {value}", "FreeScale" if value == "2" else f"detail {value}", seed=5) for value in ("0.25", "1", "2", "5")
    ],
    **{f"js/docs/{name.lower()}.jpg": rivals(name) for name in ("ScaleCrafter", "FouriScale", "HiDiffusion", "DemoFusion")},
    "docs/images/blurry.jpg": [
        Panel("enlarged", NATIVE_PICTURE, NATIVE, part=CHIN),
        Panel("denoise 0.1", "denoise 0.1", part=CHIN),
        Panel("denoise 0.7", part=CHIN),
    ],
    "docs/images/resize.jpg": [Panel("latent", "latent resize", seed=1, part=TOP), Panel("pixels", seed=1, part=TOP)],
    "docs/images/colours.jpg": [Panel("cfg 15", "cfg 15", seed=5, part=HAT), Panel("cfg 4", seed=5, part=HAT)],
}


def sheet(panels: list[Panel], folder: Path) -> Image.Image:
    """The panels in rows of three or, if there are four, of two, each under its label."""
    columns = 3 if len(panels) == 3 else 2
    height = CAPTION + PX + GAP
    whole = Image.new("RGB", (columns * (PX + GAP) - GAP, -(-len(panels) // columns) * height - GAP), PAPER)
    pen, font = ImageDraw.Draw(whole), ImageFont.load_default(TEXT)
    for n, panel in enumerate(panels):
        left, top = n % columns * (PX + GAP), n // columns * height
        pen.text((left + PX / 2, top + CAPTION / 2), panel.label, INK, font, anchor="mm")
        whole.paste(panel.image(folder), (left, top + CAPTION))
    return whole
