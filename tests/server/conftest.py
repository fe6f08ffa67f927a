"""One real ComfyUI server for all tests in this folder, and what they ask of it."""

import json
import shutil
import time
import urllib.error
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from editor import pixels, saved, use_demo_model
from freescale.nodes.host.demo import HAS_TEXT_ALONE
from PIL import Image
from safetensors.torch import save_file

from tools.prompts import ENDINGS, refusal, saved_images
from tools.server import Server
from tools.workflows import to_prompt

TINY_SD3 = "tiny_sd3.safetensors"  # what FreeScale cannot use: a transformer, and a VAE of 16 channels
PATIENCE = 180  # s without any message from the server


@dataclass
class Run:
    """What the server said during one prompt: (kind, data), binary messages included."""

    prompt: dict
    heard: list[tuple[str, object]] = field(default_factory=list)
    outputs: dict = field(default_factory=dict)
    refused: dict = field(default_factory=dict)  # nodes that did not pass the server's checks, while others run
    folder: Path = Path()

    def all(self, kind: str) -> list:
        """The data of every message of a kind, in order."""
        return [data for name, data in self.heard if name == kind]

    @property
    def ending(self) -> str:
        return self.heard[-1][0]

    @property
    def error(self) -> str:
        """What went wrong: the words a person reads."""
        if self.ending == "refused":
            [answer] = self.all("refused")
            return refusal(answer, self.prompt)
        [problem] = self.all("execution_error")
        return problem["exception_message"]

    @property
    def files(self) -> list[Path]:
        """The saved pictures, those of later stages last."""
        return saved_images(self.outputs, self.prompt, self.folder)

    @property
    def pictures(self) -> list[np.ndarray]:
        """Their pixels."""
        return [np.asarray(pixels(path)) for path in self.files]


class Comfy:
    """A running server."""

    def __init__(self, server: Server):
        self.server, self.object_info = server, server.object_info

    def run(self, prompt: dict, on: Callable[[str, object], None] = lambda kind, data: None) -> Run:
        """Run a prompt to its end, whatever that is (not even started is "refused"); `on` hears every message at once."""
        client = uuid.uuid4().hex
        run = Run(prompt, folder=self.server.workdir / "output")
        with self.server.listen(client, PATIENCE) as messages:
            try:
                answer = self.server.post("/prompt", {"prompt": prompt, "client_id": client})
                number, run.refused = answer["prompt_id"], answer["node_errors"]
            except urllib.error.HTTPError as error:
                run.heard.append(("refused", json.loads(error.read())))
                return run
            for kind, data in messages:
                if isinstance(data, dict) and data.get("prompt_id", number) != number:
                    continue
                run.heard.append((kind, data))
                on(kind, data)
                if kind in ENDINGS:
                    break
        while not (history := self.server.get(f"/history/{number}")):
            time.sleep(0.05)
        run.outputs = history[number]["outputs"]
        return run

    def forget(self) -> None:
        """Empty the server's cache of results and unload its models; it does so after the next prompt at the latest."""
        self.server.post("/free", {"unload_models": True, "free_memory": True})
        blank = {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}}
        self.run({"blank": blank, "show": {"class_type": "PreviewImage", "inputs": {"images": ["blank", 0]}}})

    @staticmethod
    def find(prompt: dict, kind: str, number: int = 0) -> str:
        """The id of a node of a kind."""
        return [key for key, node in prompt.items() if node["class_type"] == kind][number]

    def workflow(self, name: str, **changes) -> dict:
        """A file of workflows/ as a prompt, for the demo model, with changed widget values (all nodes that have them)."""
        prompt = to_prompt(saved(name), self.object_info)
        use_demo_model(prompt, transformer=HAS_TEXT_ALONE)
        for node in prompt.values():
            node["inputs"].update({key: value for key, value in changes.items() if key in node["inputs"]})
        return prompt

    def one_cascade(self, **changes) -> dict:
        """The demo workflow with one cascade, all of whose stages are saved."""
        prompt = self.workflow("freescale_demo", **changes)
        prompt[self.find(prompt, "SaveImage", 1)]["inputs"]["images"] = [self.find(prompt, "SelfCascadeUpscale"), 2]
        del prompt[self.find(prompt, "SaveImage", 2)], prompt[self.find(prompt, "SelfCascadeUpscale", 1)]
        return prompt


def _tiny_transformer() -> dict[str, torch.Tensor]:
    """The weights of a Stable Diffusion 3 of one narrow layer, which ComfyUI recognises and loads."""
    from comfy.ldm.modules.diffusionmodules.mmdit import MMDiT

    embedder = {"target": "torch.nn.Linear", "params": {"in_features": 64, "out_features": 64}}
    network = MMDiT(
        input_size=None, patch_size=2, in_channels=16, depth=1, adm_in_channels=64, context_embedder_config=embedder,
        num_patches=16, pos_embed_max_size=4, pos_embed_scaling_factor=None, dtype=torch.float32, device="cpu", operations=torch.nn,
    )  # fmt: skip
    return {name: torch.zeros_like(weight) for name, weight in network.state_dict().items()}


def _tiny_vae() -> dict[str, torch.Tensor]:
    """The weights of a small VAE for Stable Diffusion 3."""
    from comfy.taesd.taesd import TAESD

    return {name: torch.zeros_like(weight) for name, weight in TAESD(latent_channels=16).state_dict().items()}


@pytest.fixture(scope="session")
def comfy(host, tmp_path_factory):
    """The server, with previews on, a picture to enlarge, models that FreeScale cannot use, and a neighbour."""
    workdir = tmp_path_factory.mktemp("comfyui")
    for folder in ("input", "custom_nodes"):
        (workdir / folder).mkdir()
    shutil.copy(Path(__file__).parent / "neighbour.py", workdir / "custom_nodes")
    models = workdir / "models"
    for folder, weights in (("diffusion_models", _tiny_transformer()), ("vae", _tiny_vae())):
        (models / folder).mkdir(parents=True)
        save_file(weights, models / folder / TINY_SD3)
    ramp = np.mgrid[0:96, 0:128].sum(0).astype(np.uint8)
    Image.fromarray(np.stack([ramp, ramp[::-1], 255 - ramp], -1)).save(workdir / "input" / "example.png")
    # The classic cache, because that of newer hosts soon forgets the stages that the cascade expands into.
    with Server(host, workdir, options=("--preview-method", "latent2rgb", "--cache-classic")) as server:
        yield Comfy(server)
