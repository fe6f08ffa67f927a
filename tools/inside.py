"""Loads a real ComfyUI into the process that imports it, the pack as the package `freescale`, and what tests and tools share.

The pack's root stays off sys.path, where its `nodes` would hide the host's.
"""

import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
COMFYUI = Path(os.environ["FREESCALE_COMFYUI"])  # set by dev.py


def load(name: str, path: Path, package: bool = False) -> ModuleType:
    """A file as a module of that name."""
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=[str(path.parent)] if package else None)
    assert spec and spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Before any other import of comfy.
sys.path.insert(0, str(COMFYUI))
import folder_paths  # noqa: E402
import utils.extra_config  # noqa: E402, F401  as main.py does: later the host's comfy/utils.py would take the name
from comfy.cli_args import args  # noqa: E402

args.cpu = "FREESCALE_GPU" not in os.environ  # which the tools that measure set
setattr(args, os.environ.get("FREESCALE_ATTENTION", "use_pytorch_cross_attention"), True)
folder_paths.set_temp_directory(tempfile.mkdtemp(prefix="freescale-"))  # the host that all share stays as it was unpacked
load("freescale", ROOT / "__init__.py", package=True)
load("tools", ROOT / "tools" / "__init__.py", package=True)
for _path in ("tests/editor", "tests/families", "tests/oracle", "tools/flow_rivals", "tools/methods", "tools/bench/measure"):
    load(Path(_path).name, ROOT / f"{_path}.py")

from tools.processes import Host  # noqa: E402


def this_host() -> Host:
    """The ComfyUI that this process runs in, for servers of it."""
    client = os.environ.get("FREESCALE_CLIENT")
    return Host(Path(sys.executable), COMFYUI, Path(client) if client else None)
