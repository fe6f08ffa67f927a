"""The web client that the user wants instead of the host's own."""

import os
import tempfile
from pathlib import Path

from tools.folders import cache_folder
from tools.processes import PIP, step

PACKAGE = "comfyui-frontend-package"


def web_client(python: Path) -> Path | None:
    """The client that COMFYUI_FRONTEND names, fetched first where it is missing."""
    wanted = os.environ.get("COMFYUI_FRONTEND")
    if not wanted:
        return None
    home = cache_folder() / f"client-{wanted}"
    if not home.exists():  # "newest" never does: it is kept by its number
        with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
            package = PACKAGE if wanted == "newest" else f"{PACKAGE}=={wanted}"
            command = [python, *PIP, "install", "--no-deps", "--target", folder, package]
            step("Fetching the web client", command, cache_folder() / "client.log")
            [about] = Path(folder).glob("*.dist-info")
            home = cache_folder() / f"client-{about.stem.partition('-')[2]}"
            if not home.exists():
                (Path(folder) / "comfyui_frontend_package" / "static").rename(home)
    return home
