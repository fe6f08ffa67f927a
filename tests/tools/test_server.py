"""A real ComfyUI with a pack of one node: started, asked, heard, and ended."""

import asyncio
import urllib.request

import pytest

from tools.console import Trouble
from tools.listening import listen
from tools.prompts import run_prompt, saved_images
from tools.server import Server
from tools.workflows import to_prompt

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
    """The server, and a web client of one line."""
    pack, client = tmp_path_factory.mktemp("pack"), tmp_path_factory.mktemp("client")
    (pack / "__init__.py").write_text(PACK)
    (client / "index.html").write_text("another client")
    with Server(host._replace(client=client), pack=pack) as running:
        yield running


def dots(size):
    """A workflow of the test pack, as the editor saves it."""
    source = {"id": 1, "type": "DevTestDots", "mode": 0, "widgets_values": [4, "fixed", size], "inputs": [],
              "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1]}]}  # fmt: skip
    save = {"id": 2, "type": "SaveImage", "mode": 0, "widgets_values": ["dots"], "outputs": [],
            "inputs": [{"name": "images", "type": "IMAGE", "link": 1}]}  # fmt: skip
    return {"nodes": [source, save], "links": [[1, 1, 0, 2, 0, "IMAGE"]]}


def test_it_runs_a_graph_and_reports_where_it_is(server):
    assert server.node_ids() == ["DevTestDots"]
    graph, heard = dots(8), []
    prompt = to_prompt(graph, server.object_info)
    [image] = saved_images(run_prompt(server, prompt, graph, heard.append), prompt, server.workdir / "output")
    assert image.read_bytes().startswith(b"\x89PNG") and b'"DevTestDots"' in image.read_bytes()
    assert any("DevTestDots, step 3 of 3" in line for line in heard) and any("Save Image" in line for line in heard)


def test_it_serves_the_client_that_it_is_given(server):
    with urllib.request.urlopen(server.url) as answer:
        assert answer.read() == b"another client"


def test_a_failing_node_is_named_with_its_reason(server):
    with pytest.raises(Trouble, match="DevTestDots failed: thirteen is no size"):
        run_prompt(server, to_prompt(dots(13), server.object_info))


def test_a_refused_workflow_is_explained(server):
    prompt = to_prompt(dots(8), server.object_info)
    del prompt["2"]["inputs"]["images"]
    with pytest.raises(Trouble, match="(?s)refused.*Save Image.*images"):
        run_prompt(server, prompt)


def test_a_message_of_any_length_is_heard_whole(server):
    """ComfyUI answers a prompt with its nodes' names: here a long one."""
    name = "x" * 70_000
    prompt = {name: to_prompt(dots(8), server.object_info)["1"], "save": {"class_type": "SaveImage", "inputs": {}}}
    prompt["save"]["inputs"] = {"images": [name, 0], "filename_prefix": "long"}
    with server.listen("long") as messages:
        server.post("/prompt", {"prompt": prompt, "client_id": "long"})
        assert any(kind == "executing" and data["node"] == name for kind, data in messages)


def test_a_silent_server_is_not_waited_for_forever(server):
    with server.listen("silent", patience=0.5) as messages, pytest.raises(asyncio.TimeoutError):
        list(messages)


def test_messages_end_with_the_server(host, tmp_path):
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text(PACK)
    with Server(host, tmp_path / "work", pack=tmp_path / "pack") as server, server.listen("last") as messages:
        assert next(messages)[0] == "status"
        server.process.kill()
        assert list(messages) == []
    with pytest.raises(Trouble, match="refused the connection"), listen(f"{server.url}/ws"):
        pass


def test_a_pack_that_does_not_load_is_reported_and_nothing_stays_behind(host, tmp_path):
    (tmp_path / "__init__.py").write_text("raise ImportError('broken on purpose')")
    server = Server(host, pack=tmp_path)
    with pytest.raises(Trouble, match="(?s)broken on purpose.*did not load"):
        server.__enter__()
    assert server.process.poll() is not None and not server.workdir.exists()
