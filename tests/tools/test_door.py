"""dev.py itself: it makes the tools' environment once, whatever happens meanwhile, and hands over to it."""

import functools
import json
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location

import psutil
import pytest

from tools import folders
from tools.folders import ROOT

DEV = ROOT / "dev.py"
LOAD = f"""
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location("door", {str(DEV)!r})
door = module_from_spec(spec)
spec.loader.exec_module(door)
"""


@pytest.fixture
def door(cache, tmp_path, make_wheel):
    """dev.py as a module, whose environment is tiny."""
    spec = spec_from_file_location("door", DEV)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    module.PACKAGES = (f"tinytool @ {make_wheel(tmp_path, 'tinytool', {'tinytool.py': 'value = 2'}).as_uri()}",)
    return module


def build_elsewhere(door) -> subprocess.Popen:
    """Find or make the environment in another process."""
    code = f"{LOAD}\ndoor.PACKAGES = {door.PACKAGES!r}\nplace = door.pointer()\nprint(door.published(place) or door.build(place))"
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def homes(door) -> list[str]:
    return [path.name for path in door.cache_folder().glob("tools-*-*") if path.is_dir()]


def test_it_is_made_once_and_made_anew_where_it_is_gone(door):
    python = door.build(door.pointer())
    assert subprocess.run([python, "-c", "import tinytool; print(tinytool.value)"], capture_output=True).stdout == b"2\n"
    assert door.published(door.pointer()) == python and homes(door) == [python.parent.parent.name]
    shutil.rmtree(python.parent.parent)
    assert door.published(door.pointer()) is None
    again = door.build(door.pointer())
    assert door.published(door.pointer()) == again != python


def test_other_packages_are_another_environment(door):
    first = door.pointer()
    door.PACKAGES = ("other",)
    assert door.pointer() != first


def test_two_runs_at_once_use_one(door):
    runs = [build_elsewhere(door), build_elsewhere(door)]
    (one, _), (two, _) = (run.communicate(timeout=120) for run in runs)
    assert one == two and one.strip() == str(door.published(door.pointer()))
    assert len(homes(door)) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_one_that_was_killed_half_way_is_never_used(door, how):
    run = subprocess.Popen([sys.executable, DEV, "host"], stderr=subprocess.PIPE, text=True)
    assert "Making an environment for the tools" in run.stderr.readline()
    time.sleep(0.5)
    run.send_signal(how)
    run.communicate()
    assert run.returncode == (143 if how == signal.SIGTERM else -how)
    assert len(homes(door)) == (how == signal.SIGKILL)
    assert not list(door.cache_folder().glob("tools-????????????")), "nothing names it"


def test_a_failed_install_shows_pips_own_words_and_leaves_nothing(door):
    door.PACKAGES = ("/no/such/package-1.0-py3-none-any.whl",)
    with pytest.raises(SystemExit, match="(?s)package-1.0-py3-none-any.whl.*could not be installed"):
        door.build(door.pointer())
    assert not homes(door)


@pytest.mark.parametrize("chosen", [{"FREESCALE_CACHE": "~/here"}, {"XDG_CACHE_HOME": "/there"}, {}])
def test_the_door_and_the_tools_have_one_cache_folder(door, monkeypatch, chosen):
    for name in ("FREESCALE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    assert door.cache_folder() == folders.cache_folder()


def test_it_says_where_the_host_is(host):
    said = subprocess.run([sys.executable, DEV, "host", "--json"], check=True, capture_output=True, text=True).stdout
    assert json.loads(said) == {"python": str(host.python), "comfyui": str(host.comfyui)}


def test_what_it_does_not_know_is_refused():
    run = subprocess.run([sys.executable, DEV, "demo", "--nonsense"], check=False, capture_output=True, text=True)
    assert run.returncode == 2 and "unknown arguments: --nonsense" in run.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize("how, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_command_that_is_told_to_end_stops_its_server(how, code):
    heed = functools.partial(signal.signal, how, signal.SIG_DFL)  # even where these tests run in the background
    run = subprocess.Popen([sys.executable, DEV, "demo"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=heed)
    deadline = time.monotonic() + 600
    while not (servers := [each for each in psutil.Process(run.pid).children() if "main.py" in " ".join(each.cmdline())]):
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    run.send_signal(how)
    assert run.wait(120) == code
    assert not any(each.is_running() for each in servers)
