"""dev.py table3 on the demo model's clips: the code that runs on VideoCrafter2, with tiny settings and networks of random weights."""

import json
import sys

import numpy as np
import pytest
import torch
from cdfvd.third_party.i3d.pytorch_i3d import InceptionI3d
from cdfvd.third_party.i3d.utils import frechet_distance, preprocess_i3d
from PIL import Image
from torchvision.models.optical_flow import raft_large
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from tools.console import Trouble
from tools.folders import ROOT

sys.path.append(str(ROOT / "tools" / "tables"))
import clip_metrics  # noqa: E402
import drawing  # noqa: E402
import table3  # noqa: E402
import videos  # noqa: E402

PROMPTS = "hat yes, hue 0.6\nhat no, framing portrait\n"
FRAMES = 2
SMALL = CLIPVisionConfig(
    hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, patch_size=32, projection_dim=16
)  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with prompts and the networks' weights."""
    folder = tmp_path_factory.mktemp("table3")
    (folder / "prompts.txt").write_text(PROMPTS)
    torch.manual_seed(2412)
    networks = {"i3d": InceptionI3d(400, in_channels=3), "raft": raft_large(), "aesthetic": torch.nn.Linear(16, 1)}
    for name, network in networks.items():
        torch.save(network.state_dict(), folder / f"{name}.pt")
    CLIPVisionModelWithProjection(SMALL).save_pretrained(folder / "clip")
    return folder


@pytest.fixture(scope="module")
def command(files):
    """Its arguments, with changes."""

    def arguments(**changed) -> list[str]:
        given = {"checkpoint": "demo", "prompts": files / "prompts.txt", "videos": 2, "steps": 2, "folder": files / "clips"}
        given |= {name: files / f"{name}.pt" for name in ("i3d", "raft", "aesthetic")}
        given |= {"clip": files / "clip", "json": files / "table.json", **changed}
        return [f"--{name}={value}" for name, value in given.items()] + ["--methods", "FreeScale"]

    return arguments


@pytest.fixture(scope="module")
def result(command):
    """What the command gives for short clips."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(videos, "FRAMES", FRAMES)
        patch.setattr(clip_metrics, "FLOW_UPDATES", 1)
        yield table3.main(command())


def video(folder) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))])


def test_clips_are_drawn_once_and_measured(files, result, command):
    drawn = {path: path.stat().st_mtime_ns for path in files.glob("clips/*/*/*.png")}
    names = [path.relative_to(files / "clips").as_posix() for path in drawn]
    assert sorted(names) == sorted(
        f"{name}/{index:05}/{frame:03}.png" for name in ("reference", "FreeScale") for index in (0, 1) for frame in range(FRAMES)
    )
    assert video(files / "clips/FreeScale/00000").shape == (FRAMES, 512, 512, 3)
    assert {*result["methods"]} == {"reference", "FreeScale"} and "fvd" not in result["methods"]["reference"]
    assert json.loads((files / "table.json").read_text()) == json.loads(json.dumps(result))
    assert table3.main(command()) == result and all(path.stat().st_mtime_ns == when for path, when in drawn.items())


def test_fvd_is_the_librarys(files, result):
    i3d = InceptionI3d(400, in_channels=3).eval()
    i3d.load_state_dict(torch.load(files / "i3d.pt"))

    def seen(name):
        films = np.stack([video(files / "clips" / name / f"{index:05}") for index in (0, 1)])
        return i3d(preprocess_i3d(films.repeat(5, axis=1))).double()  # two frames are too few for it

    with torch.inference_mode():
        library = float(frechet_distance(seen("FreeScale"), seen("reference")))
    assert result["methods"]["FreeScale"]["fvd"] == pytest.approx(library, rel=1e-3) and library > 0


def test_beauty_is_the_heads_word_on_the_librarys_features(files):
    film = torch.randint(0, 256, (2, 3, 224, 224), generator=torch.Generator().manual_seed(1)).float()
    clip, head = CLIPVisionModelWithProjection.from_pretrained(files / "clip").eval(), torch.nn.Linear(16, 1)
    with torch.inference_mode():
        features = clip(**CLIPImageProcessor()(film.byte(), return_tensors="pt")).image_embeds
        expected = head(features / features.norm(dim=-1, keepdim=True)).mean() / 10
        assert clip_metrics.aesthetics(clip, head, film) == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize("fast, expected", [(3, False), (4, True)])
def test_a_clip_moves_if_a_quarter_of_its_frames_do(fast, expected):
    speeds = iter([6.5 * 512 / 256] * fast + [5.5 * 512 / 256] * (15 - fast))

    def flow(first, second, num_flow_updates):
        """A twentieth of the px go so far, the others nowhere."""
        px = torch.zeros(1, 2, 512, 640)
        px[0, 1].view(-1)[: 512 * 640 // 20] = next(speeds)
        return [px * 0, px]

    assert clip_metrics.moves(flow, torch.zeros(16, 3, 512, 640)) is expected


def test_every_method_draws_its_own_clip(monkeypatch, tmp_path):
    monkeypatch.setattr(videos, "FRAMES", FRAMES)
    with torch.inference_mode():
        drawing.draw(videos.load("demo"), videos.drawn, ["hat yes"], videos.METHODS, 2, 2, tmp_path)
    drawn = {folder.parent.name: video(folder).tobytes() for folder in tmp_path.glob("*/00000")}
    assert {*drawn} == {"reference", *videos.METHODS} and len({*drawn.values()}) == len(drawn)


@pytest.mark.parametrize(
    "changed, complaint",
    [
        ({"checkpoint": "absent.ckpt"}, "no such file"),
        ({"checkpoint": "i3d.pt"}, "cannot be loaded: it has no U-Net"),
        ({"videos": 3}, "--videos 3 needs as many prompts, but .* has 2"),
        ({"prompts": "i3d.pt"}, "cannot be read"),
        ({"i3d": "raft.pt"}, "--i3d .* does not hold the weights"),
        ({"raft": "absent.pt"}, "--raft .* does not hold the weights"),
        ({"clip": "prompts.txt"}, "--clip .* does not hold the weights"),
        ({"aesthetic": "i3d.pt"}, "--aesthetic .* does not hold the weights"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_drawn(files, command, changed, complaint):
    changed = {name: files / value if isinstance(value, str) else value for name, value in changed.items()}
    with pytest.raises(Trouble, match=complaint):
        table3.main(command(folder=files / "untouched", **changed))
    assert not (files / "untouched").exists()
