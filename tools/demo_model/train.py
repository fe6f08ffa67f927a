"""Train the demo model: python tools/demo_model/train.py --comfyui PATH [--device cuda].

Draws the scenes, fits the VAE, encodes them, fits the U-Net to predict noise (epsilon) on SDXL's schedule, and
writes model.safetensors (fp16) with model.json (hash, seed, losses) into nodes/demo.
"""

import argparse
import hashlib
import json
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F

DEMO = Path(__file__).resolve().parents[2] / "nodes" / "demo"  # where the pack keeps the model and what describes it
sys.path.append(str(DEMO))

from config import NATIVE, UNET  # noqa: E402
from data import CAPTIONS, caption, draw_all, encode  # noqa: E402
from trainer import Trainer, adamw, alphas  # noqa: E402

if TYPE_CHECKING:
    from comfy.taesd.taesd import TAESD

LATENT_SCALE = 0.13025  # SDXL's: the VAE's raw latents get the standard deviation 1 / LATENT_SCALE


def micro_conditioning(batch: int, device: torch.device) -> torch.Tensor:
    """SDXL's size and crop embedding [batch, 1536]: mostly native, else any size, so that the model ignores it."""
    from comfy.ldm.modules.diffusionmodules.util import timestep_embedding

    side = torch.where(torch.rand(batch, 1, device=device) < 0.3, torch.randint(2, 17, (batch, 1), device=device) * 64.0, NATIVE)
    zero = torch.zeros_like(side)
    return timestep_embedding(torch.cat([side, side, zero, zero, side, side], 1).flatten(), 256).reshape(batch, -1)


def rate(count: int, done: float) -> float:
    """Warm-up, then a cosine."""
    return min((count + 1) / 200, 1) * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)


def decay(count: int) -> float:
    """Of the averaged weights."""
    return min(0.996, count / (count + 100))


def initialise(module: torch.nn.Module) -> None:
    """ComfyUI's layers leave their weights empty: give them torch's default, zero where a residual branch ends."""
    kinds: tuple[Any, ...] = (torch.nn.Linear, torch.nn.Conv2d, torch.nn.GroupNorm, torch.nn.LayerNorm)
    for layer in module.modules():
        for kind in kinds:
            if isinstance(layer, kind):
                kind.reset_parameters(layer)
    for name, parameter in module.named_parameters():
        if any(part in name for part in ("out_layers.3", "proj_out", "out.2")):
            parameter.data.zero_()


def train_vae(vae: "TAESD", pictures: torch.Tensor, steps: int, batch: int, device: torch.device) -> Trainer:
    """L1 on pixels and on their gradients, over crops; latents are held near mean 0 and deviation 1 per channel."""
    side = NATIVE // 2

    def loss() -> torch.Tensor:
        top, left = (int(torch.randint(side + 1, ())) for _ in range(2))
        x = pictures[torch.randint(len(pictures), (batch,)), :, top : top + side, left : left + side]
        x = x.to(device, torch.float32).contiguous(memory_format=torch.channels_last) / 255
        with torch.autocast(device.type, torch.bfloat16):
            z = vae.taesd_encoder(x)
            y = vae.taesd_decoder(z + 0.05 * torch.randn_like(z)).float()
        z = z.float()
        edges = sum((y.diff(dim=d) - x.diff(dim=d)).abs().mean() for d in (2, 3))
        spread = z.mean((0, 2, 3)).square().mean() + (z.std((0, 2, 3)) - 1).square().mean()
        return (y - x).abs().mean() + edges + 0.1 * spread

    trainer = Trainer(vae, [adamw(vae.parameters(), 1e-3, weight_decay=1e-3)], rate, decay, steps)
    trainer.run(loss)
    return trainer


def rgb_factors(latents: torch.Tensor, pictures: torch.Tensor) -> np.ndarray:
    """Least squares from scaled latents to the pictures' 8×8 means: [5, 3], the bias last (for previews)."""
    x = latents.movedim(1, -1).reshape(-1, 4).double().cpu()
    y = F.avg_pool2d(pictures.float() / 127.5 - 1, 8).movedim(1, -1).reshape(-1, 3).double()
    return torch.linalg.lstsq(torch.cat([x, torch.ones(len(x), 1)], 1), y).solution.numpy()


def train_unet(unet, latents, captions, args: argparse.Namespace, save, device: torch.device) -> Trainer:
    """Epsilon prediction, uniform over SDXL's 1000 timesteps."""
    signal = alphas(device)
    tokens, pooled = (torch.stack(c).to(device) for c in zip(*captions))
    versions, batch = len(tokens) // len(latents), args.unet_batch

    def loss() -> torch.Tensor:
        index = torch.randint(len(latents), (batch,), device=device)
        said = index + len(latents) * torch.randint(versions, (batch,), device=device)
        x = latents[index]
        noise = torch.randn_like(x)
        t = torch.randint(1000, (batch,), device=device)
        a = signal[t][:, None, None, None]
        y = torch.cat([pooled[said], micro_conditioning(batch, device)], 1)
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            out = unet(a.sqrt() * x + (1 - a).sqrt() * noise, t, context=tokens[said], y=y, transformer_options={})
        return F.mse_loss(out.float(), noise)

    optimizer = adamw(unet.parameters(), args.unet_rate, weight_decay=1e-3)
    trainer = Trainer(unet, [optimizer], rate, decay, args.unet_steps, args.unet_minutes)
    trainer.run(loss, lambda: save(trainer.average), graph=device.type == "cuda")
    return trainer


def save(weights: dict[str, dict[str, torch.Tensor]], record: dict, folder: Path) -> None:
    """Write the weights in half precision, and the record with their hash."""
    tensors = {f"{name}.{k}": v.half().contiguous().cpu() for name, state in weights.items() for k, v in state.items()}
    path = folder / "model.safetensors"
    safetensors.torch.save_file(tensors, path)
    record["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "model.json").write_text(json.dumps(record, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comfyui", type=Path, required=True, help="a ComfyUI folder (its layers are trained)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=2412)
    parser.add_argument("--scenes", type=int, default=24_000)
    parser.add_argument("--vae-steps", type=int, default=4_000)
    parser.add_argument("--vae-batch", type=int, default=16)
    parser.add_argument("--unet-steps", type=int, default=4_000)
    parser.add_argument("--unet-minutes", type=float, default=0, help="stop the U-Net's training after this long")
    parser.add_argument("--unet-batch", type=int, default=16)
    parser.add_argument("--unet-rate", type=float, default=1e-3, help="the U-Net's highest learning rate")
    parser.add_argument("--resume", type=Path, help="weights to go on from: the VAE is kept, the U-Net trained further")
    parser.add_argument("--out", type=Path, default=DEMO)
    args = parser.parse_args()

    sys.path.insert(0, str(args.comfyui))
    from comfy.cli_args import args as host

    host.cpu, host.use_pytorch_cross_attention = args.device == "cpu", True
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
    from comfy.taesd.taesd import TAESD

    device = torch.device(args.device)
    torch.manual_seed(args.seed)
    torch.backends.cudnn.benchmark = True
    torch.set_flush_denormal(True)

    began = time.time()
    pictures, said = draw_all(args.seed, NATIVE, NATIVE, range(args.scenes))
    rng = np.random.default_rng(args.seed)
    captions = [caption(rng, *s) for _ in range(2 * CAPTIONS) for s in said]  # every picture exists mirrored too
    print(f"{args.scenes} scenes drawn in {time.time() - began:.0f} s", flush=True)

    vae = TAESD(latent_channels=4).to(device).to(memory_format=torch.channels_last)
    vae.vae_scale.data.fill_(LATENT_SCALE)
    unet = UNetModel(**UNET, dtype=torch.float32, device=device)
    print(f"parameters: VAE {sum(p.numel() for p in vae.parameters()):,}, U-Net {sum(p.numel() for p in unet.parameters()):,}")
    record: dict = {"unet": []}
    initialise(vae)
    initialise(unet)
    if args.resume:
        weights = safetensors.torch.load_file(args.resume)
        for prefix, module in (("vae.", vae), ("unet.", unet)):
            module.load_state_dict({k[len(prefix) :]: v.float() for k, v in weights.items() if k.startswith(prefix)})
        vae.eval().requires_grad_(False)
        record |= json.loads(args.resume.with_suffix(".json").read_text())
    else:
        trainer = train_vae(vae, pictures, args.vae_steps, args.vae_batch, device)
        record["vae"] = trainer.summary() | {"batch": args.vae_batch, "scenes": args.scenes, "seed": args.seed}

    latents = torch.cat(
        [encode(vae, p, device) for p in pictures.split(256)] + [encode(vae, p.flip(3), device) for p in pictures.split(256)]
    )
    record["latent_rgb"] = rgb_factors(latents[: min(2000, args.scenes)], pictures[:2000]).round(4).tolist()
    keep = lambda state: save({"vae": vae.state_dict(), "unet": state}, record, args.out)  # noqa: E731
    keep(unet.state_dict())  # a run cut short can go on from here
    trainer = train_unet(unet, latents, captions, args, keep, device)
    record["unet"].append(trainer.summary() | {"batch": args.unet_batch, "scenes": args.scenes, "seed": args.seed})
    keep(unet.state_dict())
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
