"""python dev.py table1 --checkpoint FILE --prompts FILE --images N: the paper's Table 1 on a real checkpoint (docs/table1.md)."""

import os
import sys
from pathlib import Path

import torch

if torch.cuda.is_available():
    os.environ["FREESCALE_GPU"] = "1"
sys.path.append(str(Path(__file__).parents[1]))
import inside  # noqa: E402, F401  a real ComfyUI with the pack in it

# isort: split
import table  # noqa: E402

from tools.console import Trouble, say  # noqa: E402

try:
    table.main(sys.argv[1:])
except Trouble as trouble:
    sys.exit(str(trouble))
except KeyboardInterrupt:
    say("Interrupted. The same command goes on where this one stopped.")
    sys.exit(130)
