"""The pack as people get it, and a computer on which a real ComfyUI and ComfyUI-Manager are installed."""

import functools
import http.server
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.folders import ROOT
from tools.processes import PIP, Host, ask, child_env, tools_python, venv_python
from tools.server import Server

MANAGER = "comfyui-manager==4.3"
# It may install what has no entry in its list; and it fetches no lists, which here and in CI change from day to day.
MANAGER_SETTINGS = "[default]\nnetwork_mode = offline\nallow_git_url_install = true\nfile_logging = false\n"
LOADER = Path(__file__).parent / "manager_loader"
AUTHOR = ("-c", "user.name=test", "-c", "user.email=test@example.org")
PURELIB = "import sysconfig; print(sysconfig.get_path('purelib'))"


def run(command: list, folder: Path | None = None, **env: str) -> str:
    """What a command prints; what it says of a failure is in the test's report."""
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=folder, env=child_env(**env), check=True, text=True, stdout=subprocess.PIPE).stdout


@pytest.fixture(scope="session")
def repository(tmp_path_factory) -> Path:
    """A git repository with this checkout as it is, files that are not committed yet included."""
    place = tmp_path_factory.mktemp("repository")
    names = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], ROOT).split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():  # one that was deleted is still listed
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name)
    for command in (["init", "--quiet"], ["add", "--all"], [*AUTHOR, "commit", "--quiet", "--message", "all of it"]):
        run(["git", *command], place)
    return place


@pytest.fixture(scope="session")
def address(repository, tmp_path_factory) -> Iterator[str]:
    """The address that the repository can be cloned from, as from a public host."""
    folder = tmp_path_factory.mktemp("public")
    run(["git", "clone", "--quiet", "--bare", repository, folder / "comfyui-freescale.git"])
    run(["git", "update-server-info"], folder / "comfyui-freescale.git")
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/comfyui-freescale.git"
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and does not talk about it."""

    def log_message(self, format, *args):
        pass


@pytest.fixture(scope="session")
def archive(repository) -> Path:
    """The zip that the registry hands out, packed by the registry's own tool."""
    run(
        [tools_python(), "-m", "comfy_cli", "--skip-prompt", "node", "pack"],
        repository,
        DO_NOT_TRACK="1",
        COMFY_NO_UPDATE_CHECK="1",
    )
    return repository / "node.zip"


class Computer:
    """A ComfyUI with ComfyUI-Manager, and the folder that holds all of its files."""

    def __init__(self, host: Host, home: Path):
        self.host, self.home = host, home
        self.packs = home / "custom_nodes"
        self.packs.mkdir()
        (home / "user" / "__manager").mkdir(parents=True)
        (home / "user" / "__manager" / "config.ini").write_text(MANAGER_SETTINGS)
        self.knows_manager = "--enable-manager" in (host.comfyui / "comfy" / "cli_args.py").read_text("utf-8")
        if not self.knows_manager:
            shutil.copytree(LOADER, self.packs / LOADER.name)

    def start(self) -> Server:
        """ComfyUI with the packs that lie there."""
        options = ("--enable-manager", "--enable-manager-legacy-ui") if self.knows_manager else ()
        return Server(self.host, self.home, pack=None, options=options)

    def files(self) -> set[str]:
        """Every file and folder there is."""
        return {path.relative_to(self.home).as_posix() for path in self.home.rglob("*")}

    def pip(self, *words) -> str:
        """What ComfyUI's pip says."""
        return run([self.host.python, *PIP, *words])

    def unpack(self, archive: Path, folder: str) -> None:
        """Install the pack from a zip."""
        with zipfile.ZipFile(archive) as content:
            content.extractall(self.packs / folder)


@pytest.fixture(scope="session")
def computer(host, tmp_path_factory) -> Iterator[Computer]:
    """The Manager lies over the environment's packages, in a place of its own: the environment stays as it is."""
    over = tmp_path_factory.mktemp("manager")
    run([host.python, "-m", "venv", "--without-pip", over / "venv"])
    python = venv_python(over)
    (Path(ask(python, PURELIB)) / "host.pth").write_text(ask(host.python, PURELIB))
    run([host.python, *PIP, "--python", python, "install", "--quiet", MANAGER])
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)  # as on a person's computer; and later starts are quick
        yield Computer(host._replace(python=python), tmp_path_factory.mktemp("computer"))
