"""dev.py table1 on the demo model: the code that runs on a checkpoint, with tiny settings and a metrics network of random weights."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import save_file
from torch_fidelity import calculate_metrics
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from tools.console import Trouble
from tools.folders import ROOT

FOLDER = ROOT / "tools" / "tables"
sys.path.append(str(FOLDER))
import drawing  # noqa: E402
import stills  # noqa: E402
import table1  # noqa: E402

PROMPTS = "hat yes, hue 0.6\nhat no, framing portrait\n"
DRAWN = ("reference", "FreeScale")  # by the table; one method, as measuring one takes seconds


class Untrained(FeatureExtractorInceptionV3):
    """The network without its weights, which are on a server that a test cannot count on."""

    def load_state_dict(self, state):
        for parameter in self.parameters():
            if parameter.ndim > 1:
                torch.nn.init.kaiming_normal_(parameter)  # features that differ between pictures


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with prompts and the network's weights."""
    folder = tmp_path_factory.mktemp("table1")
    (folder / "prompts.txt").write_text(PROMPTS)
    torch.manual_seed(2412)
    torch.save({}, folder / "inception.pth")
    network = Untrained("any", ["2048"], feature_extractor_weights_path=folder / "inception.pth")
    torch.save(network.state_dict(), folder / "inception.pth")
    return folder


@pytest.fixture(scope="module")
def command(files):
    """Its arguments, with changes."""

    def arguments(**changed) -> list[str]:
        given = {"checkpoint": "demo", "prompts": files / "prompts.txt", "images": 2, "steps": 2, "folder": files / "pictures"}
        given |= {"inception": files / "inception.pth", "json": files / "table.json", **changed}
        return [f"--{name}={value}" for name, value in given.items()] + ["--methods", "FreeScale"]

    return arguments


@pytest.fixture(scope="module")
def interrupted(files, command):
    """When each picture was drawn before somebody pressed Ctrl-C."""
    folder = files / "pictures"
    threads = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}  # or it would round otherwise than we do
    run = subprocess.Popen([sys.executable, FOLDER, "table1", *command()], stderr=subprocess.PIPE, text=True, env=threads)
    while not (folder / "reference" / "00000.png").exists():
        assert run.poll() is None, run.stderr.read()
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    assert "goes on where" in run.communicate()[1] and run.returncode == 130
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")}


@pytest.fixture(scope="module")
def result(interrupted, command):
    """What the same command gives then."""
    return table1.main(command())


def test_an_interrupted_table_goes_on(files, interrupted, result):
    assert 0 < len(interrupted) < 4
    assert all(path.stat().st_mtime_ns == drawn for path, drawn in interrupted.items())
    found = {path.relative_to(files / "pictures").as_posix() for path in files.glob("pictures/**/*") if path.is_file()}
    assert found == {
        "settings.json", *(f"{name}/{file}" for name in DRAWN for file in ("00000.png", "00001.png", "minutes.jsonl"))
    }  # fmt: skip
    assert json.loads((files / "table.json").read_text()) == json.loads(json.dumps(result))
    assert list(result["methods"]) == ["FreeScale"] and result["methods"]["FreeScale"]["minutes"] > 0


def test_the_figures_are_those_of_the_library(files, result):
    library = calculate_metrics(
        input1=str(files / "pictures/FreeScale"), input2=str(files / "pictures/reference"), fid=True, kid=True, isc=True,
        kid_subset_size=2, isc_splits=2, feature_extractor_weights_path=str(files / "inception.pth"),
        cuda=False, verbose=False, cache=False, save_cpu_ram=True,
    )  # fmt: skip
    row = result["methods"]["FreeScale"]
    names = {"fid": "frechet_inception_distance", "kid": "kernel_inception_distance_mean", "is": "inception_score_mean"}
    for ours, theirs in names.items():
        assert row[ours] == pytest.approx(library[theirs], rel=1e-4)
    assert row["fid"] > 1 and abs(row["fid_c"] / row["fid"] - 1) > 0.01


def test_an_uninterrupted_run_draws_the_same_bits_and_a_finished_one_nothing(files, result):
    with torch.inference_mode():
        checkpoint, prompt = stills.load("demo"), PROMPTS.splitlines()[:1]
        drawing.draw(checkpoint, stills.drawn, prompt, stills.METHODS, 2, 2, files / "all")
        drawn = {path.parent.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in files.glob("all/*/*.png")}
        drawing.draw(checkpoint, stills.drawn, prompt, stills.METHODS, 2, 2, files / "all")
    assert len({bits for bits, _ in drawn.values()}) == len(drawn) == 1 + len(stills.METHODS)
    for name, (bits, when) in drawn.items():
        assert (files / "all" / name / "00000.png").stat().st_mtime_ns == when
        assert name not in DRAWN or (files / "pictures" / name / "00000.png").read_bytes() == bits


def test_pictures_of_other_settings_are_refused(files, command, result):
    (files / "other.txt").write_text(PROMPTS.replace("hat no", "hat any"))
    for changed, complaint in (({"steps": 3}, "steps was 2, is 3"), ({"prompts": files / "other.txt"}, "prompt 1 was 'hat no")):
        with pytest.raises(Trouble, match=complaint):
            table1.main(command(**changed))
    torch.set_num_threads(2)  # draws other bits, and in another time
    try:
        with pytest.raises(Trouble, match="device was CPU, 1 threads, is CPU, 2 threads"):
            table1.main(command())
    finally:
        torch.set_num_threads(1)
    more = [*PROMPTS.splitlines(), "hue 0.5"]
    for prompts in (more, more[:2]):  # more or fewer images of the same prompts are fine
        drawing.claim(files / "pictures", result["settings"], prompts)
    assert json.loads((files / "pictures/settings.json").read_text())["prompts"] == more


@pytest.mark.parametrize(
    "changed, complaint",
    [
        ({"checkpoint": "absent.safetensors"}, "no such file"),
        ({"checkpoint": "other.safetensors"}, "cannot be loaded"),
        ({"prompts": "absent.txt"}, "cannot be read"),
        ({"prompts": "empty.txt"}, "is empty"),
        ({"prompts": "wrong.txt"}, "'a red hat' is no prompt of the demo model"),
        ({"images": 3}, "needs as many prompts, but .* has 2"),
        ({"size": 300}, "no multiple of the model's native 256 px"),
        ({"size": 256}, "no multiple of the model's native 256 px"),
        ({"inception": "absent.pth"}, "cannot be read"),
        ({"inception": "empty.txt"}, "does not hold the weights"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_drawn(files, command, changed, complaint):
    (files / "empty.txt").write_text("\n")
    (files / "wrong.txt").write_text("hue 0.1\na red hat\n")
    save_file({"nothing": torch.zeros(1)}, files / "other.safetensors")
    changed = {name: files / value if isinstance(value, str) else value for name, value in changed.items()}
    with pytest.raises(Trouble, match=complaint):
        table1.main(command(folder=files / "untouched", **changed))
    assert not (files / "untouched").exists()


def test_published_figures_stand_under_ours():
    row = {"fid": 40.0, "kid": 0.001, "fid_c": 30.0, "kid_c": 0.002, "is": 12.0, "minutes": 0.5}
    lines = drawing.text(table1.COLUMNS, {"FreeScale": row, "HiDiffusion": row}, table1.PUBLISHED[2048])
    assert lines[1:3] == [
        ["FreeScale", "40.0", "0.0010", "30.0", "0.0020", "12.00", "0.50"],
        ["  paper", "44.7", "", "36.3", "", "", "0.85"],
    ]
    assert len(lines) == 4
