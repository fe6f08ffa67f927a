"""What a person sees and can do while a cascade runs: progress, previews, re-use of stages, Cancel."""

import io
import re
import urllib.request

import numpy as np
import pytest
from freescale.nodes.host.progress import MESSAGE
from PIL import Image

STAGE_STEPS = 4  # the tail of 5 ddim_uniform steps at denoise 0.7


@pytest.fixture
def prompt(comfy):
    """The demo, small."""
    return comfy.one_cascade(steps=5, width=192, height=192, native_size=192, stages="1.25x")


def steps(run) -> list[str]:
    """The node of every sampling step, in order."""
    return [data["node"] for data in run.all("progress")]


def test_progress_previews_and_the_stage_are_shown_on_the_cascade(comfy, prompt):
    cascade = comfy.find(prompt, "SelfCascadeUpscale")
    prompt[cascade]["inputs"].update(stages="1.25x, 320x320", seed=11)
    run = comfy.run(prompt)
    assert run.ending == "execution_success", run.error

    for stage, title in (("stage1", "Stage 1 of 2: 240 × 240 px\n"), ("stage2", "Stage 2 of 2: 320 × 320 px\n")):
        told = [data for data in run.all(MESSAGE) if data["text"].startswith(title)]
        assert {data["node"] for data in told} == {cascade}
        texts = [data["text"] for data in told]
        assert [re.sub(r"\b\d+ (s|MB)\b", r"? \1", text.removeprefix(title)) for text in texts] == [
            "4 steps, at least ? MB beside the model",
            "step 2 of 4, about ? s left",
            "step 3 of 4, about ? s left",
            "4 steps took ? s",
        ]
        [inner] = {node for node in steps(run) if node.endswith(stage)}
        counted = [(data["value"], data["max"]) for data in run.all("progress") if data["node"] == inner]
        assert counted == [(k + 1, STAGE_STEPS) for k in range(STAGE_STEPS)]
        shown = {data["nodes"][inner]["display_node_id"] for data in run.all("progress_state") if inner in data["nodes"]}
        assert shown == {cascade}
        pictures = [data for kind, data in between(run, texts[0], texts[-1]) if kind == "preview"]
        assert len(pictures) >= STAGE_STEPS
        width, height = Image.open(io.BytesIO(pictures[0])).size
        assert width == height > 0


def test_an_only_stage_has_no_number_and_says_at_the_native_size_that_the_patches_do_not_act(comfy, prompt):
    prompt[comfy.find(prompt, "SelfCascadeUpscale")]["inputs"].update(stages="1x", seed=17)
    text = comfy.run(prompt).all(MESSAGE)[0]["text"]
    assert text.startswith("192 × 192 px\n")
    assert text.endswith(" (about the model's native size: Scale Fusion and dilation do not act)")


def test_a_leap_and_an_empty_latent_are_told(comfy):
    latent = {"width": 64, "height": 64, "batch_size": 1}
    prompt = comfy.one_cascade(steps=5, native_size=192, stages="3x")
    cascade = comfy.find(prompt, "SelfCascadeUpscale")
    prompt["empty"] = {"class_type": "EmptyLatentImage", "inputs": latent}
    prompt[cascade]["inputs"]["latent_image"] = ["empty", 0]
    text = comfy.run(prompt).all(MESSAGE)[0]["text"]
    assert "3x at once leaves little of the picture to hold on to; 2x, 2x keeps more" in text
    assert "latent_image: it is empty. Wire the LATENT of a sampler" in text
    log = comfy.server.log.read_text("utf-8", "replace")
    assert "FreeScale Cascade: 3x at once leaves little" in log
    assert "FreeScale Cascade › latent_image: it is empty. Wire the LATENT of a sampler" in log


def between(run, first: str, last: str) -> list:
    """The messages from one text to another."""
    start, end = (
        next(i for i, (kind, data) in enumerate(run.heard) if kind == MESSAGE and data["text"] == text) for text in (first, last)
    )
    return run.heard[start : end + 1]


def test_another_stage_runs_only_that_stage(comfy, prompt):
    cascade = comfy.find(prompt, "SelfCascadeUpscale")
    prompt[cascade]["inputs"]["seed"] = 12
    first = comfy.run(prompt)
    assert {node.rsplit(".")[-1] for node in steps(first)} >= {"stage1"}
    prompt[cascade]["inputs"]["stages"] = "1.25x, 1.25x"
    second = comfy.run(prompt)
    assert second.ending == "execution_success", second.error
    [sampled] = set(steps(second))
    assert sampled.endswith("stage2")
    assert all(data["text"].startswith("Stage 2 of 2: 304 × 304 px\n") for data in second.all(MESSAGE))
    done = [data["node"] for data in second.all("executing") if data["node"]]
    assert not [node for node in done if node.endswith("stage1")]
    assert comfy.find(prompt, "KSampler") in second.all("execution_cached")[0]["nodes"]
    np.testing.assert_array_equal(second.pictures[1], first.pictures[-1])  # stage 1, then and now


def test_cancel_stops_within_a_step_and_leaves_no_trace(comfy, prompt):
    cascade = comfy.find(prompt, "SelfCascadeUpscale")
    prompt[cascade]["inputs"].update(seed=13, steps=12, stages="1.5x")
    after = []

    def cancel_at_the_second_step(kind, data):
        if kind != "progress" or not data["node"].endswith("stage1"):
            return
        if data["value"] == 2:
            comfy.server.post("/interrupt", {})
            after.append(0)
        elif after:
            after[0] += 1

    run = comfy.run(prompt, cancel_at_the_second_step)
    assert run.ending == "execution_interrupted"
    assert after in ([0], [1]), f"{after} steps after Cancel"
    interrupted = comfy.run(prompt)
    assert interrupted.ending == "execution_success", interrupted.error
    comfy.forget()
    undisturbed = comfy.run(prompt)
    assert not undisturbed.all("execution_cached")[0]["nodes"]
    for one, two in zip(interrupted.pictures, undisturbed.pictures, strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_finished_stage_is_kept_when_a_later_one_is_cancelled(comfy, prompt):
    cascade = comfy.find(prompt, "SelfCascadeUpscale")
    prompt[cascade]["inputs"].update(seed=14, stages="1.25x, 1.25x")

    def cancel_in_the_second_stage(kind, data):
        if kind == "progress" and data["node"].endswith("stage2"):
            comfy.server.post("/interrupt", {})

    run = comfy.run(prompt, cancel_in_the_second_stage)
    assert run.ending == "execution_interrupted"
    [shown] = [data for data in run.all("executed") if data["node"].endswith("picture1")]
    assert shown["display_node"] == cascade and run.outputs[shown["node"]] == shown["output"]
    [kept] = shown["output"]["images"]
    address = f"/view?filename={kept['filename']}&type={kept['type']}&subfolder={kept['subfolder']}"
    with urllib.request.urlopen(comfy.server.url + address) as file:
        first = np.asarray(Image.open(file).convert("RGB"))
    np.testing.assert_array_equal(first, comfy.run(prompt).pictures[1])
