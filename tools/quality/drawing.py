"""Draws and measures one picture at a time, in a process that other pictures share."""

import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from time import perf_counter, process_time

sys.path.append(str(Path(__file__).parents[1]))
import inside  # noqa: E402, F401  a real ComfyUI with the pack in it

# isort: split
import comfy.utils  # noqa: E402
import families  # noqa: E402
import methods  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from features import seen_in  # noqa: E402
from figures import (  # noqa: E402
    PATCHES,
    detail_energy,
    fidelity,
    fine_patches,
    ghosts,
    grass,
    off_colour,
    parts,
    seams,
    texture_distance,
)
from freescale.nodes.demo.config import FLUX, U_NET  # noqa: E402
from freescale.nodes.demo.demo_model import FreeScaleDemoModel  # noqa: E402
from methods import Work  # noqa: E402
from PIL import Image, PngImagePlugin  # noqa: E402

from tools.demo_model.scenes import random_scene, random_view, render  # noqa: E402

comfy.utils.set_progress_bar_enabled(False)  # several pictures at once, and one bar for all of them

NATIVE, CFG = 256, 4.0
GOLDEN = 0.618034  # turns of the hue from seed to seed: any number of seeds covers the circle evenly
TRUTHS, FIRST_TRUTH = 64, 10_000  # drawings that pictures are compared with, which none is asked to be
PATCHED = 16  # of them for patches
NATIVE_PICTURE, ENLARGED, TRUTH = "native picture", "native picture, enlarged", "true drawing"


@dataclass(frozen=True)
class Network:
    """How a network of the demo model is drawn with."""

    steps: int
    scheduler: str
    denoise: float
    methods: dict[str, methods.Method]


NETWORKS = {
    U_NET: Network(50, "ddim_uniform", 0.7, methods.OF_U_NETS),
    FLUX: Network(20, "simple", 0.75, methods.OF_TRANSFORMERS),
}
TUNED = {  # FreeScale by other settings than its defaults
    f"{name} {value:g}": lambda work, name=name, value=value: methods.freescale(work, **{name: value})
    for name, values in {"detail": (1.0, 1.5, 3.0, 4.0), "denoise": (0.5, 0.6, 0.8)}.items()
    for value in values
}
SHOWN = {  # what goes wrong, for the pages that say what to do about it
    "denoise 0.1": lambda work: methods.freescale(work, denoise=0.1),
    "detail 0.25": lambda work: methods.freescale(work, detail=0.25),
    "detail 5": lambda work: methods.freescale(work, detail=5.0),
    "cfg 15": lambda work: methods.freescale(replace(work, cfg=15.0)),
    "direct, dilated": lambda work: work.direct(families.with_dilation(work.model)),
}


@dataclass(frozen=True)
class Picture:
    """One picture, by what it is made of; `folder` is where all of them are."""

    folder: Path
    network: str
    commit: str
    method: str
    side: int
    seed: int
    timed: bool = True  # whether it has its processor to itself

    @property
    def path(self) -> Path:
        return self.folder / self.network / str(self.side) / self.method / f"{self.seed}.png"


def scene(seed: int) -> dict:
    """What the picture of a seed is asked to show."""
    return {"hat": seed % 2 == 1, "hue": seed * GOLDEN % 1}


def truth(seed: int, side: int) -> Image.Image:
    """A true drawing of the same kind of scene, in vectors at the picture's own size."""
    rng = np.random.default_rng(seed)
    return render(random_scene(rng, **scene(seed)), random_view(rng, "portrait"), side)


def draw(picture: Picture) -> Picture:
    """Draw it, unless its file is there. A file is whole or not there at all."""
    if picture.path.exists():
        return picture
    torch.set_num_threads(1)  # the same bits and the same time, whatever else the processor does
    clock = perf_counter if torch.cuda.is_available() else process_time
    network = NETWORKS[picture.network]
    ways = {NATIVE_PICTURE: lambda work: work.picture(work.base()), **network.methods, **TUNED, **SHOWN}
    with torch.inference_mode():
        asked = scene(picture.seed)
        wired = FreeScaleDemoModel.execute("yes" if asked["hat"] else "no", asked["hue"], "portrait", picture.network).args
        how = dict(steps=network.steps, scheduler=network.scheduler, denoise=network.denoise, cfg=CFG, seed=picture.seed)
        work = Work(*wired, (NATIVE, NATIVE), picture.side // NATIVE, **how)
        started = clock()
        pixels = (255 * ways[picture.method](work)[0].cpu().clamp(0, 1)).round().byte().numpy()
        seconds = clock() - started
    info = PngImagePlugin.PngInfo()
    if picture.timed:
        info.add_text("seconds", f"{seconds:.2f}")
    info.add_text("commit", picture.commit)
    picture.path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = picture.path.with_suffix(".unfinished")
    Image.fromarray(pixels).save(unfinished, "png", pnginfo=info)
    unfinished.replace(picture.path)
    return picture


@cache
def true_patches(side: int) -> np.ndarray:
    """Patches of true drawings, an equal share of each."""
    rng = np.random.default_rng(side)
    drawings = [fine_patches(truth(FIRST_TRUTH + n, side), rng)[: PATCHES // PATCHED] for n in range(PATCHED)]
    return np.concatenate(drawings)


def true_features(side: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """What the metrics' network sees in true drawing number `n`, and in its crops."""
    return seen_in(truth(FIRST_TRUTH + n, side))


def measured(picture: Picture) -> dict:
    """Its figures; a true drawing's are beside the same at the native size, and it and the enlarged picture need no file."""
    if picture.method == TRUTH:
        base, shown = (truth(picture.seed, side) for side in (NATIVE, picture.side))
    else:
        base = Image.open(replace(picture, method=NATIVE_PICTURE, side=NATIVE).path).convert("RGB")
        enlarged = picture.method == ENLARGED
        shown = (
            base.resize((picture.side,) * 2, Image.Resampling.LANCZOS) if enlarged else Image.open(picture.path).convert("RGB")
        )
    patches = fine_patches(shown, np.random.default_rng(picture.seed))
    whole, crops = seen_in(shown)
    return {
        "seed": picture.seed,
        "parts": parts(shown),
        "detail_energy": detail_energy(shown, NATIVE),
        "texture": texture_distance(patches, true_patches(picture.side)),
        "fidelity_db": fidelity(shown, base),
        **{figure.__name__: figure(shown, base) for figure in (off_colour, ghosts, grass, seams)},
        "seconds": float(shown.info["seconds"]) if "seconds" in shown.info else None,
        "commit": shown.info.get("commit"),
        "whole": whole,
        "crops": crops,
    }
