"""A running ComfyUI."""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

from tools import listening
from tools.console import Trouble, say, tail
from tools.folders import PACK_NAME, ROOT, new_run
from tools.processes import Host, has_gpu, host_env


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

    def __enter__(self) -> "Server":
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

    def listen(self, client: str, patience: float | None = None) -> contextlib.AbstractContextManager:
        """What the server tells a client, see listening.listen."""
        return listening.listen(f"{self.url}/ws?clientId={client}", patience)


def start(host: Host, workdir: Path, **options) -> Server:
    """A server that tells the user that it is starting."""
    say(f"Starting ComfyUI on the {'GPU' if has_gpu(host.python) else 'CPU'} …")
    return Server(host, workdir, **options)


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
