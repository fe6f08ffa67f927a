"""A server that dies in the middle of a cascade: what was finished is on disk."""

import shutil

import numpy as np
from PIL import Image

from tools.server import Server


def test_finished_stages_survive_a_killed_server(comfy, host, tmp_path):
    """The demo saves each stage from its own node, which runs before the next stage does.

    The server keeps no results and knows several people, as those do that the web client's own tests start.
    """
    short = comfy.one_cascade(steps=2, width=64, height=64, stages="1.5x, 1.5x")
    prompt = comfy.workflow("freescale_demo", steps=5)
    second = comfy.find(prompt, "SelfCascadeUpscale", 1)
    with Server(host, tmp_path, options=("--multi-user", "--cache-none")) as server, server.listen("someone") as messages:
        drawn = type(comfy)(server).run(short)
        assert all(map(np.array_equal, drawn.pictures, comfy.run(short).pictures)) and len(drawn.pictures) == 3
        shutil.rmtree(tmp_path / "output")
        server.post("/prompt", {"prompt": prompt, "client_id": "someone"})
        for kind, data in messages:
            assert kind not in ("execution_error", "execution_success")
            if kind == "progress" and data["node"].startswith(f"{second}."):
                server.process.kill()
                break
        server.process.wait(30)
    saved = sorted((tmp_path / "output" / "freescale").glob("*.png"))
    assert [Image.open(path).size for path in saved] == [(256, 256), (512, 512)]
    assert all(np.asarray(Image.open(path)).std() > 1 for path in saved)
