"""The demo transformer's weights as the pack carries them: whole numbers of a byte, and a scale for each row of a matrix.

python tools/demo_model/pack.py trained.safetensors nodes/demo/transformer.safetensors; it prints the hash for transformer.json.
"""

import hashlib
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save


def packed(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Matrices [rows, …] as int8 beside their scales [rows, 1 …]; everything else in half precision."""
    out = {}
    for name, weight in weights.items():
        if weight.ndim < 2:
            out[name] = weight.half()
            continue
        scale = (weight.float().abs().amax(dim=tuple(range(1, weight.ndim)), keepdim=True) / 127).clamp_min(1e-8)
        out[name], out[f"{name}.scale"] = (weight.float() / scale).round().to(torch.int8), scale
    return out


def write(weights: dict[str, torch.Tensor], path: Path) -> str:
    """Pack into a file; its hash."""
    data = save(packed(weights))
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    print(write(load_file(sys.argv[1]), Path(sys.argv[2])))
