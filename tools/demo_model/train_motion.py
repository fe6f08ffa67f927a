"""Train the demo model's layers between frames: python tools/demo_model/train_motion.py --comfyui PATH --out FOLDER.

Draws clips, encodes their frames with the demo model's VAE, fits the layers by its frozen U-Net, and writes motion.safetensors with
motion.json (hash, recipe, seed, loss) into the folder. A run that is cut short goes on with --resume and the same arguments; the
clips' latents are kept in the folder for it, since drawing and encoding them takes a CPU half an hour. --begin goes on from the
layers that lie beside this script, whose clips are of one scene but not whole yet: no node offers them.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from math import sqrt
from pathlib import Path
from types import ModuleType

import numpy as np
import safetensors.torch
import torch

PACK = Path(__file__).resolve().parents[2]
DEMO = PACK / "nodes" / "demo"  # where the pack keeps the model and what describes it
sys.path.append(str(DEMO))

from config import FRAMES, FRAMINGS, NATIVE, UNET  # noqa: E402
from data import CAPTIONS, Said, caption, encode  # noqa: E402
from scenes import random_clip, render  # noqa: E402
from trainer import Trainer, adamw, alphas, command_line, last_twelfth, prepare  # noqa: E402

RATE = 4e-4  # for one clip; it grows with the root of the batch, as Adam's steps do in noise
SHARE = (0.7, 0.2, 0.1)  # of the framings; a character is what moves
HEAVIEST = 30  # of a noise level's weight
RECIPE = (
    "Clips forwards and backwards. Epsilon prediction through the frozen U-Net, noise of which 80 % is shared by a clip's frames, one "
    "noise level a clip, twice as often at t as at t / 2 and spread over a batch, weighted by 1 / alpha up to 30. Below the latent's "
    "size frames begin with their mean. AdamW 4e-4 times the root of the batch, 100 steps of warm-up, then linear to 1 %. Average of "
    "the last twelfth."
)


def draw(seed: int, index: int) -> tuple[np.ndarray, Said]:
    """Clip number `index`: its frames (uint8 THWC) and what a prompt would say of it."""
    rng = np.random.default_rng((seed, index))
    framing = str(rng.choice(FRAMINGS, p=SHARE))
    clip = random_clip(rng, framing, FRAMES)
    return np.stack([np.asarray(render(scene, view, NATIVE)) for scene, view in clip]), (clip[0][0].hat, clip[0][0].hue, framing)


def clips(args: argparse.Namespace, weights: dict) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents [clips, FRAMES, 4, 32, 32]; tokens [captions, clips, 3, 32] and pooled vectors [captions, clips, 16]."""
    from comfy.taesd.taesd import TAESD

    vae = TAESD(latent_channels=4)
    vae.load_state_dict({k.removeprefix("vae."): v.float() for k, v in weights.items() if k.startswith("vae.")})
    vae.to(args.device).eval()
    with ProcessPoolExecutor() as pool:
        drawn = pool.map(partial(draw, args.seed), range(args.clips), chunksize=8)
        with torch.autocast(args.device, torch.bfloat16, enabled=args.device == "cuda"):
            latents, said = zip(
                *((encode(vae, torch.from_numpy(frames).movedim(-1, 1), args.device).float(), words) for frames, words in drawn)
            )
    rng = np.random.default_rng(args.seed)
    tokens, pooled = zip(*(map(torch.stack, zip(*(caption(rng, *words) for words in said))) for _ in range(CAPTIONS)))
    return torch.stack(latents), torch.stack(tokens).to(args.device), torch.stack(pooled).to(args.device)


def layers_between_frames() -> ModuleType:
    """The pack's own file, which imports nothing of the pack."""
    spec = spec_from_file_location("temporal", PACK / "nodes" / "host" / "temporal.py")
    assert spec and spec.loader
    temporal = module_from_spec(spec)
    spec.loader.exec_module(temporal)
    return temporal


def build(weights: dict, device: torch.device, temporal: ModuleType) -> tuple[Callable, torch.nn.ModuleList]:
    """The frozen U-Net, and the layers in it, which begin by passing on what they get or, below the latent's size, its mean over frames."""
    import comfy.ops
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    unet = UNetModel(**UNET, dtype=torch.float32, device=device)
    unet.load_state_dict({k.removeprefix("unet."): v.float() for k, v in weights.items() if k.startswith("unet.")})
    unet.eval().requires_grad_(False)
    layers = temporal.insert_motion(unet, {"dtype": torch.float32, "device": device}, comfy.ops.disable_weight_init)
    for name, parameter in layers.named_parameters():
        if parameter.ndim == 1:
            parameter.data.fill_(float("norm" in name and name.endswith("weight")))
        elif "proj_out" in name or "pull" in name:
            parameter.data.zero_()
        else:
            torch.nn.init.xavier_uniform_(parameter)
    first = UNET["num_res_blocks"][0]  # layers that see the picture at the latent's size: they are to keep each frame's own noise
    for layer in layers[first : -first - 1]:
        layer.pull.bias.data.fill_(1)  # below, frames that have one mean draw one scene, from the first step of the training on
    return partial(unet, transformer_options={"patches": {"forward_timestep_embed_patch": [temporal.IN_MOTION]}}), layers


def train(args: argparse.Namespace) -> None:
    """One run, to its files."""
    from comfy.ldm.modules.diffusionmodules.util import timestep_embedding

    device = torch.device(args.device)
    generator = torch.Generator(device).manual_seed(args.seed)
    torch.manual_seed(args.seed)  # of the layers' first weights
    weights = safetensors.torch.load_file(DEMO / "model.safetensors")
    temporal = layers_between_frames()
    unet, layers = build(weights, device, temporal)
    earlier = []
    if args.begin:
        layers.load_state_dict(safetensors.torch.load_file(args.begin))
        earlier = json.loads(args.begin.with_suffix(".json").read_text())["motion"]
    kept = args.out / "clips.pt"
    if not (args.resume and kept.exists()):
        torch.save(clips(args, weights), kept)
    latents, tokens, pooled = torch.load(kept, map_location=device, weights_only=True)
    signal = alphas(device)
    rate = lambda count, done: min((count + 1) / 100, 1) * max(0.01, 1 - done)  # noqa: E731
    optimizer = adamw(layers.parameters(), RATE * sqrt(args.batch), weight_decay=1e-3)
    trainer = Trainer(layers, [optimizer], rate, last_twelfth, args.steps)
    sizes = timestep_embedding(torch.tensor([NATIVE, NATIVE, 0, 0, NATIVE, NATIVE], device=device), 256).flatten()

    def loss() -> torch.Tensor:
        clip, said, back = (
            torch.randint(n, (args.batch,), generator=generator, device=device) for n in (len(latents), CAPTIONS, 2)
        )
        shift = torch.rand((), generator=generator, device=device)
        t = ((torch.arange(args.batch, device=device) / args.batch + shift).remainder(1).sqrt() * 1000).long()
        y = torch.cat([pooled[said, clip], sizes.expand(args.batch, -1)], 1)
        t, words, y = (each.repeat_interleave(FRAMES, 0) for each in (t, tokens[said, clip], y))
        films = torch.where(back.bool()[:, None, None, None, None], latents[clip].flip(1), latents[clip])
        a, x = signal[t][:, None, None, None], films.flatten(0, 1)
        noise = temporal.mixed_noise(torch.randn(x.shape, generator=generator, device=device), FRAMES)
        with torch.autocast(args.device, torch.bfloat16, enabled=args.device == "cuda"):
            out = unet(a.sqrt() * x + (1 - a).sqrt() * noise, t, context=words, y=y, num_video_frames=FRAMES)
        return ((out - noise).square() / a.clamp_min(1 / HEAVIEST)).mean()

    trainer.run_resumable(loss, generator, args.out, args.resume)

    data = safetensors.torch.save({name: weight.half().cpu() for name, weight in layers.state_dict().items()})
    (args.out / "motion.safetensors").write_bytes(data)
    run = trainer.summary() | {"batch": args.batch, "clips": args.clips, "seed": args.seed}
    record = {"motion": [*earlier, run], "recipe": RECIPE, "sha256": hashlib.sha256(data).hexdigest()}
    (args.out / "motion.json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = command_line(__doc__, "a ComfyUI folder (its layers are trained)")
    parser.add_argument("--clips", type=int, default=4_000)
    parser.add_argument("--steps", type=int, default=6_000)
    parser.add_argument("--begin", type=Path, metavar="FILE", help="a motion.safetensors that an earlier training wrote")
    parser.add_argument("--batch", type=int, default=2, help="clips; 2 is for a CPU, 40 for a GPU")
    return parser.parse_args(argv)


if __name__ == "__main__":
    args = parse()
    prepare(args)
    train(args)
