"""A server that dies in the middle of a cascade: what was finished is on disk."""

import numpy as np
from PIL import Image

from tools.server import Server


def test_finished_stages_survive_a_killed_server(comfy, host, tmp_path):
    """The demo saves each stage from its own node, which runs before the next stage does."""
    prompt = comfy.workflow("freescale_demo", steps=5)
    second = comfy.find(prompt, "SelfCascadeUpscale", 1)
    with Server(host, tmp_path) as server, server.listen("someone") as messages:
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
