#!/usr/bin/env python3
"""Everything a developer needs in one command, from the standard library alone: `python dev.py --help` lists what it can do.

This is only the door. It makes a small environment in a cache folder outside this repository and hands over to tools/ in it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
PACKAGES = (
    "ruff==0.17.6", "basedpyright==1.40.2", "comfy-cli==1.23.0",
    "filelock==4.1.0", "platformdirs==4.12.4", "aiohttp==3.14.5", "psutil==7.2.2",
)  # fmt: skip
WINDOWS = sys.platform == "win32"


def cache_folder() -> Path:
    """The folder that holds environments; tools/folders.py knows it from a library, which is not here yet."""
    home = "Library/Caches" if sys.platform == "darwin" else ".cache"
    usual = os.environ.get("LOCALAPPDATA" if WINDOWS else "XDG_CACHE_HOME") or Path.home() / home
    return Path(os.environ.get("FREESCALE_CACHE") or usual).expanduser().resolve() / "comfyui-freescale"


def pointer() -> Path:
    """The file that names the environment of these packages for this Python."""
    recipe = (sysconfig.get_config_var("EXT_SUFFIX"), sysconfig.get_platform(), platform.machine(), PACKAGES)
    return cache_folder() / f"tools-{hashlib.sha256(repr(recipe).encode()).hexdigest()[:12]}"


def published(place: Path) -> Path | None:
    """The Python of the environment that a pointer names, if both are there."""
    try:
        python = python_of(place.parent / place.read_text("utf-8"))
    except OSError:
        return None
    return python if python.exists() else None


def python_of(home: Path) -> Path:
    """The Python of an environment."""
    return home / ("Scripts/python.exe" if WINDOWS else "bin/python")


def build(place: Path) -> Path:
    """Make the environment in a folder of its own and publish it when it is whole; who comes second uses the first one's."""
    place.parent.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix=f"{place.name}-", dir=place.parent))
    say(f"Making an environment for the tools in {home}: about 0.7 GB and a minute, once.")
    try:
        install(home, place.with_suffix(".log"))
        first = published(place)
        if not first:
            (home / "name").write_text(home.name, "utf-8")
            (home / "name").replace(place)
            return python_of(home)
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise
    shutil.rmtree(home, ignore_errors=True)
    return first


def install(home: Path, log: Path) -> None:
    """A virtual environment with the packages."""
    pip = [python_of(home), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--progress-bar", "off"]
    for command in ([sys.executable, "-m", "venv", home], [*pip, *PACKAGES]):
        done = subprocess.run(
            command, env=environment(), encoding="utf-8", errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        log.write_text(done.stdout, "utf-8")
        if done.returncode:
            end = "\n".join(line[:300] for line in done.stdout.splitlines()[-30:])
            raise SystemExit(
                f"{end}\n\nThe tools could not be installed; the output above says why, all of it is in {log}. "
                "Often it is the network or a full disk: then simply run the command again."
            )


def environment(**more: str) -> dict[str, str]:
    """Our environment variables, without those that would mix another Python's packages in."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return {**kept, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", **more}


def say(text: str) -> None:
    """Tell a person, on stderr: stdout is kept for results."""
    print(text, file=sys.stderr, flush=True)


def hand_over(python: Path, argv: list[str]) -> int:
    """Run the command in the environment. Where a process can become another one, it does, and signals reach it of themselves."""
    command, env = [str(python), str(ROOT / "tools"), *argv], environment(PYTHONPATH=str(ROOT))
    if not WINDOWS:
        sys.stdout.flush()
        os.execve(command[0], command, env)
    signal.signal(signal.SIGINT, lambda *_: None)  # a console's Ctrl-C reaches the command too, which ends in order
    return subprocess.Popen(command, env=env).wait()


def main(argv: list[str]) -> int:
    """Run one command; its exit status."""
    if sys.version_info < (3, 10):
        say("dev.py needs Python 3.10 or newer; this is " + platform.python_version())
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that nothing half-made is left
    try:
        place = pointer()
        return hand_over(published(place) or build(place), argv)
    except KeyboardInterrupt:
        say("Interrupted.")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
