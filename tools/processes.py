"""Other programs: what their environment variables are, and how they are run and ended."""

import functools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import psutil

from tools.console import Trouble, say, status, tail
from tools.folders import ROOT, cache_folder

PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input")
TOOLS_PYTHON = "FREESCALE_TOOLS_PYTHON"  # the variable by which the tools' own Python is known in the host's environment


class Host(NamedTuple):
    """A ComfyUI that can be started: its folder, the Python that has its packages, and a web client if not its own."""

    python: Path
    comfyui: Path
    client: Path | None = None


def child_env(**more: str) -> dict[str, str]:
    """Our environment variables for a child, without those that would mix another Python's packages in."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    if os.environ.get("COMFYUI_PATH"):  # a checkout is the user's own: not even compiled files are left in it
        env.setdefault("PYTHONPYCACHEPREFIX", str(cache_folder() / "pycache"))
    return {**env, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", **more}


def host_env(host: Host) -> dict[str, str]:
    """The environment variables for everything that computes; one thread per physical core unless told otherwise."""
    return child_env(
        OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS") or str(physical_cores()),
        FREESCALE_COMFYUI=str(host.comfyui),
        FREESCALE_CLIENT=str(host.client or ""),
        **{TOOLS_PYTHON: str(tools_python())},
    )


def tools_python() -> Path:
    """The Python that has dev.py's packages: this one, where no variable names it."""
    return Path(os.environ.get(TOOLS_PYTHON) or sys.executable)


def venv_python(home: Path) -> Path:
    """The Python of an environment with a ComfyUI."""
    return home / "venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def ask(python: Path, code: str) -> str:
    """What a line of code prints in an environment."""
    return subprocess.run(
        [str(python), "-c", code], env=child_env(), check=True, text=True, stdout=subprocess.PIPE
    ).stdout.strip()


def physical_cores() -> int:
    """How many cores this process may use, not counting hyper-threads."""
    cores = psutil.cpu_count(logical=False) or 1
    return min(cores, len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else cores


@functools.cache
def has_gpu(python: Path) -> bool:
    """Whether PyTorch finds an accelerator (CUDA, ROCm, MPS, XPU) here."""
    return ask(python, "import torch; print(torch.accelerator.is_available())") == "True"


def find_chromium() -> str | None:
    """The browser that the tests drive."""
    names = [os.environ["CHROMIUM"]] if os.environ.get("CHROMIUM") else ["chromium", "chromium-browser", "google-chrome"]
    return next(filter(None, map(shutil.which, names)), None)


def call(command: list, env: dict[str, str], folder: Path = ROOT) -> int:
    """Run a command on this terminal; when we are told to end, let it end in order and stop its own servers."""
    process = subprocess.Popen([str(word) for word in command], cwd=folder, env=env)
    try:
        return process.wait()
    except BaseException as reason:
        if isinstance(reason, SystemExit):  # a Ctrl-C has already reached the command, a kill has not
            process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
        raise


def step(title: str, command: list, log: Path) -> None:
    """Run one command of a build, with its latest line as progress and its output kept."""
    say(title + " …")
    output = []
    process = subprocess.Popen(
        [str(word) for word in command],
        env=child_env(),
        text=True,
        encoding="utf-8",
        errors="replace",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        with process:
            for line in process.stdout or ():
                output.append(line)
                if line.strip().startswith(("Collecting", "Downloading", "Using cached", "Installing")):
                    status(line.strip())
    except BaseException:
        process.kill()
        raise
    finally:
        with open(log, "a", encoding="utf-8") as file:
            file.writelines(output)
    if process.returncode:
        raise Trouble(
            f"{tail(''.join(output), 30)}\n\n{title} failed; the output above says why, all of it is in "
            f"{log}. Often it is the network or a full disk: then simply run the command again."
        )
