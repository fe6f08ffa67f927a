"""A table's pictures, or clips, in a folder: drawn once, each whole or not at all, so that a run can stop and go on at any time."""

import contextlib
import hashlib
import itertools
import json
import os
import shutil
import statistics
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.utils
import comfyui_version
import families
import torch
from freescale.nodes.demo.demo_model import FreeScaleDemoModel
from freescale.nodes.host.demo import FOLDER as DEMO_FOLDER
from freescale.nodes.host.family import family_of
from measure import aligned
from methods import Work
from PIL import Image
from tqdm import tqdm

import nodes as host_nodes
from tools.console import Trouble
from tools.folders import ROOT

REFERENCE = "reference"
DEMO, DEMO_CFG = "demo", 4.0
# References have seeds of their own: a cascade begins with a native picture, and would be compared with that very one.
SEEDS, REFERENCE_SEEDS = 0, 1_000_000

Draw = Callable[[str, Work], torch.Tensor]  # method, work → its pictures [frames, H, W, 3]


@dataclass(frozen=True)
class Checkpoint:
    """A model to draw with; `encode` makes a prompt's (positive, negative)."""

    model: Any
    vae: Any
    encode: Callable[[str], tuple[list, list]]
    cfg: dict[str, float]
    sha256: str
    frames: int = 1

    @property
    def native(self) -> tuple[int, int]:
        """(height, width) px."""
        return family_of(self.model).native


def demo(methods: tuple[str, ...], frames: int = 1) -> Checkpoint:
    """The embedded model; frames are pictures that know nothing of each other."""

    def encode(prompt: str) -> tuple[list, list]:
        return FreeScaleDemoModel.execute(**demo_conditions(prompt)).args[1:3]

    model, *_, vae = FreeScaleDemoModel.execute("no", 0.1, "portrait").args
    weights = sha256([DEMO_FOLDER / "model.safetensors"])
    return Checkpoint(model, vae, encode, dict.fromkeys((REFERENCE, *methods), DEMO_CFG), weights, frames)


def encoder(clip: Any) -> Callable[[str], tuple[list, list]]:
    """A prompt → (positive, negative), the negative one empty."""

    def encode(prompt):
        return tuple(families.host_node(host_nodes.CLIPTextEncode, clip, text)[0] for text in (prompt, ""))

    return encode


def demo_conditions(prompt: str) -> dict:
    """A prompt such as "hat yes, hue 0.6" as the demo model's conditions; what is left out is the node's default."""
    inputs = {each.id: each for each in FreeScaleDemoModel.define_schema().inputs if each.id != "network"}
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


def command_line(table: str, about: str, what: str, methods: tuple[str, ...]) -> ArgumentParser:
    """What both tables are asked; `what` they draw one of for each prompt names the option that says how many."""
    parser = ArgumentParser(prog=f"dev.py {table}", description=about, allow_abbrev=False)
    parser.add_argument("--checkpoint", required=True, metavar="FILE", help="or the word demo: the embedded model")
    parser.add_argument("--prompts", required=True, type=Path, metavar="FILE", help="one a line, UTF-8")
    parser.add_argument(
        f"--{what}", required=True, type=int, metavar="N", help=f"so many prompts of the file, and {what} of each method"
    )
    parser.add_argument("--methods", nargs="+", choices=methods, default=methods, metavar="NAME", help=f"of {', '.join(methods)}")
    parser.add_argument("--steps", type=int, default=50, help="of the full schedule")
    parser.add_argument("--folder", type=Path, help=f"of the {what}; {table}-SIZE if not given")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to this file")
    return parser


def checked(parser: ArgumentParser, what: str, argv: list[str]) -> Namespace:
    """The arguments, of which there are enough."""
    args = parser.parse_args(argv)
    if getattr(args, what) < 2:
        parser.error(f"--{what} must be 2 or more: the metrics compare distributions")
    if args.steps < 1:
        parser.error("--steps must be 1 or more")
    return args


def prompts_of(args: Namespace, what: str) -> list[str]:
    """The prompts that are asked for; Trouble where they cannot be read or the checkpoint is no file."""
    demo = args.checkpoint == DEMO
    prompts = read_prompts(args.prompts, f"--{what}", getattr(args, what), demo)
    if not demo and not Path(args.checkpoint).is_file():
        raise Trouble(f"--checkpoint {args.checkpoint}: there is no such file.")
    return prompts


def read_prompts(file: Path, option: str, count: int, demo: bool) -> list[str]:
    """The first `count` prompts of a file, a line each; `option` is how the user named the count."""
    try:
        prompts = [line.strip() for line in file.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise Trouble(f"--prompts {file} cannot be read: {error}") from None
    if not prompts:
        raise Trouble(f"--prompts {file} is empty: write one prompt a line.")
    if count > len(prompts):
        raise Trouble(f"{option} {count} needs as many prompts, but {file} has {len(prompts)}.")
    if demo:
        for prompt in prompts:
            demo_conditions(prompt)
    return prompts[:count]


def settings_of(checkpoint: Checkpoint, steps: int, target: Any, methods: str) -> dict:
    """Everything that changes a picture or its minutes, but for its prompt; `methods` is the file with the table's."""
    code = [
        Path(methods),
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
        if part.is_dir():
            shutil.rmtree(part)
        part.unlink(missing_ok=True)


def path_of(folder: Path, name: str, index: int, frames: int) -> Path:
    """A picture's file, or a clip's folder of them."""
    return folder / name / (f"{index:05}.png" if frames == 1 else f"{index:05}")


def draw(
    checkpoint: Checkpoint, drawn: Draw, prompts: list[str], names: tuple[str, ...], steps: int, times: int, folder: Path
) -> None:
    """Draw what is missing, by turns, so that the time left is true and an interrupted table has its rows equally far."""
    names, frames = (REFERENCE, *names), checkpoint.frames
    kind = "picture" if frames == 1 else "clip"
    wanted = [(index, name) for index in range(len(prompts)) for name in names]
    missing = [(index, name) for index, name in wanted if not path_of(folder, name, index, frames).exists()]
    host_bars = comfy.utils.PROGRESS_BAR_ENABLED
    comfy.utils.set_progress_bar_enabled(False)  # one bar, ours
    try:
        with tqdm(total=len(wanted), initial=len(wanted) - len(missing), unit=kind, smoothing=0, file=sys.stderr) as bar:
            comfy.utils.set_progress_bar_global_hook(
                lambda step, steps, *_, **__: bar.set_postfix_str(f"step {step} of {steps}", refresh=sys.stderr.isatty())
            )
            for index, group in itertools.groupby(missing, key=lambda each: each[0]):
                conditions = checkpoint.encode(prompts[index])
                given = (checkpoint.model, *conditions, checkpoint.vae, checkpoint.native, times)
                for _, name in group:
                    bar.set_description(f"{name}, {kind} {index + 1} of {len(prompts)}")
                    seed = (REFERENCE_SEEDS if name == REFERENCE else SEEDS) + index
                    work = Work(*given, seed, steps, checkpoint.cfg[name], frames=frames)
                    _draw_one(drawn, name, work, path_of(folder, name, index, frames), index)
                    bar.update()
    finally:
        comfy.utils.set_progress_bar_global_hook(None)
        comfy.utils.set_progress_bar_enabled(host_bars)


def _draw_one(drawn: Draw, name: str, work: Work, path: Path, index: int) -> None:
    began = time.perf_counter()
    pixels = drawn(name, work)[: work.frames].float().cpu()
    minutes = (time.perf_counter() - began) / 60
    if not torch.isfinite(pixels).all():
        raise Trouble(f"{name} drew a broken picture (NaN) of prompt {index}. Is it the VAE? SDXL's first one breaks in float16.")
    pictures = [Image.fromarray(each) for each in (255 * pixels.clamp(0, 1)).round().byte().numpy()]
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        if work.frames > 1:
            part.mkdir()
        for number, picture in enumerate(pictures):
            picture.save(part / f"{number:03}.png" if work.frames > 1 else part, "PNG")
        with open(path.parent / "minutes.jsonl", "a", encoding="utf-8") as file:  # before the picture, which then has its minutes
            file.write(json.dumps({"index": index, "minutes": minutes}) + "\n")


def minutes_of(folder: Path, name: str, count: int) -> float:
    """The median over the pictures: a first one, which loads and compiles, weighs nothing."""
    by_index = {}
    for line in (folder / name / "minutes.jsonl").read_text("utf-8").splitlines():
        with contextlib.suppress(ValueError):  # a line that a crash cut off belongs to no picture
            entry = json.loads(line)
            by_index[entry["index"]] = entry["minutes"]
    return statistics.median(by_index[index] for index in range(count) if index in by_index)


def report(title: str, columns: dict, result: dict, json_file: Path | None) -> dict:
    """Print the table of `result`, whose methods and published figures are rows, and write every figure; the result as it came."""
    print(f"{title}\n")
    print(aligned(text(columns, result["methods"], result["published"])))
    if json_file:
        json_file.write_text(json.dumps(result, indent=1), "utf-8")
    return result


def text(columns: dict[str, tuple[str, int]], rows: dict[str, dict], published: dict[str, dict]) -> list[list[str]]:
    """A table's cells: a row of ours for each method, the paper's under it; `columns` is key → (title, digits)."""
    lines = [["", *(title for title, _ in columns.values())]]
    for name, row in rows.items():
        for title, figures in ((name, row), ("  paper", published.get(name))):
            if figures:
                lines.append([title, *(f"{figures[k]:.{n}f}" if k in figures else "" for k, (_, n) in columns.items())])
    return lines
