"""python dev.py table1 | table3 --checkpoint FILE --prompts FILE …: the paper's tables on a model of yours (docs/tables.md)."""

import os
import sys
from pathlib import Path

import torch

if torch.cuda.is_available():
    os.environ["FREESCALE_GPU"] = "1"
sys.path.append(str(Path(__file__).parents[1]))
import inside  # noqa: E402, F401  a real ComfyUI with the pack in it

# isort: split
from tools.console import Trouble, say  # noqa: E402

command, *argv = sys.argv[1:]
try:
    if command == "table1":
        from table1 import main
    else:
        from table3 import main
    main(argv)
except Trouble as trouble:
    sys.exit(str(trouble))
except KeyboardInterrupt:
    say("Interrupted. The same command goes on where this one stopped.")
    sys.exit(130)
