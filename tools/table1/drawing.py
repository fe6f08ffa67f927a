"""The pictures of Table 1 in a folder: drawn once, each whole or not at all, so that a run can stop and go on at any time."""

import contextlib
import hashlib
import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.sd
import comfy.utils
import comfyui_version
import families
import torch
from freescale.nodes.demo.demo_model import FreeScaleDemoModel
from freescale.nodes.host.demo import FOLDER as DEMO_FOLDER
from freescale.nodes.host.family import family_of
from methods import Work
from paper import METHODS, REFERENCE, drawn, paper_cfg
from PIL import Image
from tqdm import tqdm

import nodes as host_nodes
from tools.console import Trouble
from tools.folders import ROOT

DEMO, DEMO_CFG = "demo", 4.0
# References have seeds of their own: a cascade begins with a native picture, and would be compared with that very one.
SEEDS, REFERENCE_SEEDS = 0, 1_000_000


@dataclass(frozen=True)
class Checkpoint:
    """A model to draw with; `encode` makes a prompt's (positive, negative)."""

    model: Any
    vae: Any
    encode: Callable[[str], tuple[list, list]]
    cfg: dict[str, float]
    sha256: str

    @property
    def native(self) -> int:
        return family_of(self.model).native[0]


def load(name: str) -> Checkpoint:
    """A checkpoint by ComfyUI's own loader, or the embedded model; Trouble where it is none to draw with."""
    if name == DEMO:
        model, *_, vae = FreeScaleDemoModel.execute("no", 0.1, "portrait").args
        weights = sha256([DEMO_FOLDER / "model.safetensors"])
        return Checkpoint(model, vae, encode_demo, dict.fromkeys((REFERENCE, *METHODS), DEMO_CFG), weights)
    try:
        model, clip, vae, *_ = comfy.sd.load_checkpoint_guess_config(name)
    except Exception as error:  # whatever the host's loader meets in a file that is no checkpoint
        raise Trouble(f"--checkpoint {name} cannot be loaded: {error}") from None
    if model is None or clip is None or getattr(vae, "first_stage_model", None) is None:
        raise Trouble(f"--checkpoint {name} lacks the model, the text encoder or the VAE. Take a file that holds all three.")
    try:
        family_of(model, "table1")
    except ValueError as error:
        raise Trouble(str(error)) from None

    def encode(prompt):
        return tuple(families.host_node(host_nodes.CLIPTextEncode, clip, text)[0] for text in (prompt, ""))

    return Checkpoint(model, vae, encode, paper_cfg(model), sha256([Path(name)]))


def encode_demo(prompt: str) -> tuple[list, list]:
    return FreeScaleDemoModel.execute(**demo_conditions(prompt)).args[1:3]


def demo_conditions(prompt: str) -> dict:
    """A prompt such as "hat yes, hue 0.6" as the demo model's conditions; what is left out is the node's default."""
    inputs = {each.id: each for each in FreeScaleDemoModel.define_schema().inputs}
    conditions = {name: each.default for name, each in inputs.items()}
    for part in prompt.split(","):
        name, _, value = part.strip().partition(" ")
        if name == "hue":
            with contextlib.suppress(ValueError):
                value = float(value)
            known = isinstance(value, float) and 0 <= value <= 1
        else:
            known = name in inputs and value in inputs[name].options
        if not known:
            raise Trouble(f"'{prompt}' is no prompt of the demo model; they read like: hat yes, hue 0.6, framing portrait")
        conditions[name] = value
    return conditions


def read_prompts(file: Path, images: int, demo: bool) -> list[str]:
    """The first prompts of a file, a line each."""
    try:
        prompts = [line.strip() for line in file.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise Trouble(f"--prompts {file} cannot be read: {error}") from None
    if not prompts:
        raise Trouble(f"--prompts {file} is empty: write one prompt a line.")
    if images > len(prompts):
        raise Trouble(f"--images {images} needs as many prompts, but {file} has {len(prompts)}.")
    if demo:
        for prompt in prompts:
            demo_conditions(prompt)
    return prompts[:images]


def settings_of(checkpoint: Checkpoint, steps: int, target: int) -> dict:
    """Everything that changes a picture or its minutes, but for its prompt."""
    code = [
        Path(__file__).with_name("paper.py"),
        ROOT / "tools" / "methods.py",
        *(ROOT / "nodes").rglob("*.py"),
        *(ROOT / "freescale_core").rglob("*.py"),
    ]
    return {
        "checkpoint": checkpoint.sha256,
        "size": target,
        "steps": steps,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "comfyui": comfyui_version.__version__,
        "code": sha256(sorted(code)),
    }


def sha256(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        with open(path, "rb") as file:
            while block := file.read(1 << 24):
                digest.update(block)
    return digest.hexdigest()


def claim(folder: Path, settings: dict, prompts: list[str]) -> None:
    """Note in the folder how its pictures are drawn; Trouble where it has pictures that were drawn in another way.

    More images of the same prompts are welcome: only the prompts that both runs have are compared.
    """
    note = folder / "settings.json"
    if note.exists():
        old = json.loads(note.read_text("utf-8"))
        other = [
            f"{name} was {old['settings'].get(name)}, is {now}"
            for name, now in settings.items()
            if old["settings"].get(name) != now
        ]
        other += [
            f"prompt {i} was '{was}', is '{now}'" for i, (was, now) in enumerate(zip(old["prompts"], prompts)) if was != now
        ][:1]
        if other:
            listed = "\n  ".join(other)
            raise Trouble(f"{folder} has pictures of other settings:\n  {listed}\nName another --folder, or go on as before.")
        prompts = max(old["prompts"], prompts, key=len)
    folder.mkdir(parents=True, exist_ok=True)
    with whole(note) as part:
        part.write_text(json.dumps({"settings": settings, "prompts": prompts}, indent=1), "utf-8")


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name to write to; only what was written to its end gets the real name."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def picture_file(folder: Path, name: str, index: int) -> Path:
    return folder / name / f"{index:05}.png"


def draw(checkpoint: Checkpoint, prompts: list[str], names: tuple[str, ...], steps: int, target: int, folder: Path) -> None:
    """Draw what is missing, by turns, so that the time left is true and an interrupted table has its rows equally far."""
    names = (REFERENCE, *names)
    wanted = [(index, name) for index in range(len(prompts)) for name in names]
    missing = [(index, name) for index, name in wanted if not picture_file(folder, name, index).exists()]
    host_bars = comfy.utils.PROGRESS_BAR_ENABLED
    comfy.utils.set_progress_bar_enabled(False)  # one bar, ours
    try:
        with tqdm(total=len(wanted), initial=len(wanted) - len(missing), unit="picture", smoothing=0, file=sys.stderr) as bar:
            comfy.utils.set_progress_bar_global_hook(
                lambda step, steps, *_, **__: bar.set_postfix_str(f"step {step} of {steps}", refresh=sys.stderr.isatty())
            )
            for index, group in itertools.groupby(missing, key=lambda each: each[0]):
                conditions = checkpoint.encode(prompts[index])
                given = (checkpoint.model, *conditions, checkpoint.vae, checkpoint.native, target)
                for _, name in group:
                    bar.set_description(f"{name}, picture {index + 1} of {len(prompts)}")
                    seed = (REFERENCE_SEEDS if name == REFERENCE else SEEDS) + index
                    _draw_one(name, Work(*given, seed, steps, checkpoint.cfg[name]), picture_file(folder, name, index), index)
                    bar.update()
    finally:
        comfy.utils.set_progress_bar_global_hook(None)
        comfy.utils.set_progress_bar_enabled(host_bars)


def _draw_one(name: str, work: Work, path: Path, index: int) -> None:
    began = time.perf_counter()
    picture = drawn(name, work)[0].float().cpu()
    minutes = (time.perf_counter() - began) / 60
    if not torch.isfinite(picture).all():
        raise Trouble(f"{name} drew a broken picture (NaN) of prompt {index}. Is it the VAE? SDXL's first one breaks in float16.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        Image.fromarray((255 * picture.clamp(0, 1)).round().byte().numpy()).save(part, "PNG")
        with open(path.parent / "minutes.jsonl", "a", encoding="utf-8") as file:  # before the picture, which then has its minutes
            file.write(json.dumps({"index": index, "minutes": minutes}) + "\n")


def minutes_of(folder: Path, name: str, images: int) -> float:
    """The median over the pictures: a first one, which loads and compiles, weighs nothing."""
    by_index = {}
    for line in (folder / name / "minutes.jsonl").read_text("utf-8").splitlines():
        with contextlib.suppress(ValueError):  # a line that a crash cut off belongs to no picture
            entry = json.loads(line)
            by_index[entry["index"]] = entry["minutes"]
    return statistics.median(by_index[index] for index in range(images) if index in by_index)
