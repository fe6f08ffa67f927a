"""Train the network whose features KID of `dev.py quality` is of: python tools/quality/train_features.py --out FOLDER.

It learns to read off a drawing what was drawn: hat, colours, gaze, smile, horizon, what part is in view, and whether it is two halves.
Writes features.safetensors, with recipe, seed and loss in its header. A few minutes of a CPU.
"""

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from math import cos, log, pi, sin
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))

from features import SIDE, WIDTHS, Network  # noqa: E402

from tools.demo_model.scenes import Scene, View, random_scene, random_view, render  # noqa: E402

FRAMINGS = ("portrait", "portrait", "close-up", "backdrop")
PAIRS = 0.25  # of a batch are of two pictures, left and right
RECIPE = (
    "Mean squared error of a linear layer on the features for 16 properties of a drawing, each in its standard deviations; a quarter of "
    "a batch are the halves of two pictures side by side, of which only that is asked. AdamW 4e-3, 50 steps of warm-up, then linear to 1 %."
)


def properties(scene: Scene, view: View) -> list[float]:
    """What a drawing is asked for."""
    circles = [turn for hue in (scene.hue, scene.iris_hue) for turn in (cos(2 * pi * hue), sin(2 * pi * hue))]
    seen = (view.x, view.y, log(view.width), len([x for x, y, _ in scene.tufts if abs(x - view.x) < view.width / 2]))
    skin = (value / 255 for value in scene.skin)
    return [float(scene.hat), *circles, *skin, *scene.gaze, scene.smile, scene.horizon, *seen]


def drawing(seed: int, index: int) -> tuple[np.ndarray, list[float]]:
    """Drawing number `index` (uint8 HWC) and its properties."""
    rng = np.random.default_rng((seed, index))
    scene = random_scene(rng)
    view = random_view(rng, FRAMINGS[index % len(FRAMINGS)])
    return np.asarray(render(scene, view, SIDE)), properties(scene, view)


def train(args: argparse.Namespace) -> None:
    """From the first drawing to the file."""
    torch.manual_seed(args.seed)
    with ProcessPoolExecutor() as pool:
        pictures, asked = zip(*pool.map(partial(drawing, args.seed), range(args.drawings), chunksize=50))
    pixels = torch.from_numpy(np.stack(pictures)).movedim(-1, 1)
    wanted = torch.tensor(asked)
    wanted = (wanted - wanted.mean(0)) / wanted.std(0)
    model = Network()
    head = torch.nn.Linear(sum(WIDTHS), 1 + wanted.shape[1])
    weights = [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, 4e-3)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: min((k + 1) / 50, 1) * max(0.01, 1 - k / args.steps))
    pairs, recent = round(PAIRS * args.batch), []
    for step in range(args.steps):
        chosen = torch.randint(len(pixels), (args.batch,))
        batch = pixels[chosen].float() / 255
        batch[:pairs, :, :, SIDE // 2 :] = batch[pairs : 2 * pairs, :, :, SIDE // 2 :]
        found = head(model(batch))
        two = torch.zeros(args.batch)
        two[:pairs] = 2
        loss = (found[:, 0] - two).square().mean() + (found[pairs:, 1:] - wanted[chosen[pairs:]]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        rate.step()
        recent = [*recent[-99:], loss.item()]
        if step % 100 == 99:
            print(f"  step {step + 1}  loss {np.mean(recent):.4f}", flush=True)
    model.eval()
    with torch.no_grad():
        seen = torch.cat([model(batch.float() / 255) for batch in pixels.split(args.batch)])
    model.mean, model.deviation = seen.mean(0), seen.std(0).clamp_min(1e-6)
    run = {"steps": args.steps, "batch": args.batch, "drawings": args.drawings, "seed": args.seed, "loss": float(np.mean(recent))}
    state = {name: weight.contiguous() for name, weight in model.state_dict().items()}
    safetensors.torch.save_file(state, args.out / "features.safetensors", {"run": json.dumps(run), "recipe": RECIPE})


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the folder to write to; the pack's is tools/quality")
    parser.add_argument("--drawings", type=int, default=4_000)
    parser.add_argument("--steps", type=int, default=1_000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=2412)
    return parser.parse_args(argv)


if __name__ == "__main__":
    train(parse())
