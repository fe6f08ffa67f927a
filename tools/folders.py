"""Where things are: this repository, and the folder that keeps what takes long to make."""

import os
import shutil
import tempfile
import time
from pathlib import Path

from platformdirs import user_cache_path

ROOT = Path(__file__).resolve().parent.parent
PACK_NAME = "ComfyUI-FreeScale"
WEEK = 7 * 24 * 3600  # s


def cache_folder() -> Path:
    """The per-user folder that holds environments and runs; FREESCALE_CACHE names another one to hold it."""
    name, chosen = "comfyui-freescale", os.environ.get("FREESCALE_CACHE")
    if chosen:
        return Path(chosen).expanduser().resolve() / name
    return user_cache_path(name, appauthor=False, opinion=False).resolve()


def new_run(kind: str) -> Path:
    """A new folder for one run; those more than a week old are tidied away."""
    runs = cache_folder() / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    for old in runs.iterdir():
        if time.time() - old.stat().st_mtime > WEEK:
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=time.strftime(f"{kind}-%Y%m%d-%H%M%S-"), dir=runs))
