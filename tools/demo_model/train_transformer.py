"""Train the demo model's transformer: python tools/demo_model/train_transformer.py --comfyui PATH --out FOLDER [--device cuda].

Draws the scenes in many shapes, encodes them with the VAE that train.py made, fits ComfyUI's Flux to them by flow matching, and writes
transformer.safetensors (rows of whole numbers of a byte) with transformer.json (hash, recipe, seed, loss) into the folder. A run that
is cut short goes on with --resume and the same arguments; on a CPU it ends with the same bits as one that was not.
"""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F

DEMO = Path(__file__).resolve().parents[2] / "nodes" / "demo"  # where the pack keeps the model and what describes it
sys.path.append(str(DEMO))

import pack  # noqa: E402
from config import TRANSFORMER  # noqa: E402
from data import CAPTIONS, caption, draw_all, encode  # noqa: E402
from trainer import Trainer, adamw, command_line, last_twelfth, prepare  # noqa: E402

if TYPE_CHECKING:
    from comfy.ldm.flux.model import Flux

SIDES = (12, 13, 14, 15, 16, 17, 18, 20, 22)  # tokens
BUCKETS = tuple(zip(SIDES, reversed(SIDES)))  # height and width: 252 … 264 tokens each, as many as a native square has
TOKEN = 16  # px a side: 2 × 2 latent cells of 8 px
MUON_RATE, ADAMW_RATE = 0.02, 2e-3
RECIPE = (
    "Flow matching, v = noise - latent, on shapes from 12 x 22 to 22 x 12 tokens, one shape a batch; sigma = sigmoid(1.1 n + ln 2), a "
    "tenth of them uniform. Muon (momentum .95, lr .02) for the hidden matrices, AdamW 2e-3 for the rest, 100 steps of warm-up, flat to "
    "30 % of the training, then linear to 1 %. Average of the last twelfth. Packed as int8 rows."
)


def rate(count: int, done: float) -> float:
    """Warm-up, flat, linear to 1 %."""
    return min((count + 1) / 100, 1) * min(1, max(0.01, (1 - done) / 0.7))


def build(generator: torch.Generator) -> "Flux":
    """ComfyUI's Flux; modulations and the last layer begin at zero, so that every block passes on what it gets."""
    import comfy.ops
    from comfy.ldm.flux.model import Flux, FluxParams

    class Operations(comfy.ops.disable_weight_init):
        class LayerNorm(comfy.ops.disable_weight_init.LayerNorm):
            """Of a copy: the blocks then add to their input in place, and gradients need what it was."""

            def forward(self, input: torch.Tensor) -> torch.Tensor:
                return super().forward(input.clone())

    asked = {name: value for name, value in TRANSFORMER.items() if name in FluxParams.__annotations__}
    model = Flux(dtype=torch.float32, device=generator.device, operations=Operations, **asked)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "_norm." in name:
                parameter.fill_(1)
            elif name.endswith("bias") or "mod" in name or name.startswith("final_layer."):
                parameter.zero_()
            else:
                torch.nn.init.kaiming_uniform_(parameter, math.sqrt(5), generator=generator)  # torch's default for Linear
    return model


def optimizers(model: "Flux") -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for the rest."""
    hidden, rest = [], []
    for name, parameter in model.named_parameters():
        (hidden if parameter.ndim == 2 and "_blocks." in name and "mod" not in name else rest).append(parameter)
    muon = torch.optim.Muon([{"params": hidden, "lr": torch.tensor(MUON_RATE)}], weight_decay=0.03, momentum=0.95)
    return [muon, adamw(rest, ADAMW_RATE, betas=(0.9, 0.98), weight_decay=0)]


def draw_sigmas(batch: int, generator: torch.Generator) -> torch.Tensor:
    """[batch]: mostly in the middle, shifted to the noisy side as in sampling, and some anywhere."""
    normal = torch.randn(batch, generator=generator, device=generator.device)
    uniform, chance = torch.rand(2, batch, generator=generator, device=generator.device)
    return torch.where(chance < 0.1, uniform, torch.sigmoid(1.1 * normal + math.log(2))).clamp_min(1e-4)


def scenes(args: argparse.Namespace, device: torch.device) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """For each bucket latents [scenes, 4, 2 × height, 2 × width] and tokens [captions, scenes, 3, 32]; each scene is in one of them."""
    from comfy.taesd.taesd import TAESD

    weights = safetensors.torch.load_file(DEMO / "model.safetensors")
    vae = TAESD(latent_channels=4)
    vae.load_state_dict({k.removeprefix("vae."): v.float() for k, v in weights.items() if k.startswith("vae.")})
    vae.to(device).eval()
    rng = np.random.default_rng(args.seed)
    out = []
    for i, (height, width) in enumerate(BUCKETS):
        pictures, said = draw_all(args.seed, TOKEN * width, TOKEN * height, range(i, args.scenes, len(BUCKETS)))
        tokens = torch.stack([torch.stack([caption(rng, *s)[0] for s in said]) for _ in range(CAPTIONS)])
        out.append((torch.cat([encode(vae, some, device) for some in pictures.split(256)]), tokens.to(device)))
    return out


def train(args: argparse.Namespace) -> None:
    """One run, to its files."""
    device = torch.device(args.device)
    generator = torch.Generator(device).manual_seed(args.seed)
    model = build(generator)
    buckets = scenes(args, device)
    trainer = Trainer(model, optimizers(model), rate, last_twelfth, args.steps, args.minutes)

    def loss() -> torch.Tensor:
        latents, tokens = buckets[trainer.count % len(buckets)]
        said, scene = (torch.randint(n, (args.batch,), generator=generator, device=device) for n in tokens.shape[:2])
        x = latents[scene]
        noise = torch.randn(x.shape, generator=generator, device=device)
        sigmas = draw_sigmas(args.batch, generator)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            out = model(x.lerp(noise, sigmas[:, None, None, None]), sigmas, tokens[said, scene], transformer_options={})
        return F.mse_loss(out.float(), noise - x)

    trainer.run_resumable(loss, generator, args.out, args.resume)

    # Younger hosts name the norms otherwise; the pack reads the first name.
    weights = {k.replace("_norm.weight", "_norm.scale"): v.cpu() for k, v in model.state_dict().items()}
    run = trainer.summary() | {"batch": args.batch, "scenes": args.scenes, "seed": args.seed}
    record = {"transformer": [run], "recipe": RECIPE, "sha256": pack.write(weights, args.out / "transformer.safetensors")}
    (args.out / "transformer.json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = command_line(__doc__, "a ComfyUI folder (its layers are trained), 0.3.75 or newer")
    parser.add_argument("--scenes", type=int, default=32_768)
    parser.add_argument("--steps", type=int, default=3_000)
    parser.add_argument("--minutes", type=float, default=0, help="stop after this long")
    parser.add_argument("--batch", type=int, default=320, help="320 is for a GPU; 8 is enough for a CPU")
    return parser.parse_args(argv)


if __name__ == "__main__":
    args = parse()
    prepare(args)
    import comfy.model_management

    comfy.model_management.__dict__["in_training"] = True  # else younger hosts turn positions by a kernel that has no gradient
    train(args)
