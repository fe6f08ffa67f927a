"""Bad input, through the real server: the error names node, input, value and remedy, before any sampling."""

import re
from math import nan

import pytest
from freescale.nodes.host.progress import MESSAGE

CASCADE, FUSION, DILATION = "FreeScale Cascade", "FreeScale Scale Fusion", "FreeScale Restrained Dilation"
REGIONS, BLEND, COMPARE = "FreeScale Region Detail", "FreeScale Blend Sampler", "FreeScale Compare"


def base() -> dict:
    """A cascade on an empty 64 px latent: nothing in it takes time, and no sampler comes before the cascade."""
    nodes = {
        "demo": ("FreeScaleDemoModel", {"hat": "yes", "hue": 0.5, "framing": "portrait"}),
        "latent": ("EmptyLatentImage", {"width": 64, "height": 64, "batch_size": 1}),
        "fusion": ("ScaleFusionAttentionPatch", {
            "model": ["demo", 0], "global_attention": "full", "blur_axes": "hw", "jitter": True, "seed": 0, "native_size": 0,
            "start_percent": 0.0, "end_percent": 1.0, "blocks": "all",
        }),
        "dilation": ("RestrainedDilation", {
            "model": ["fusion", 0], "preset": "FreeScale", "factor": 0.0, "end_percent": 0.7, "layers": "down, middle", "native_size": 0,
        }),
        "cascade": ("SelfCascadeUpscale", {
            "model": ["dilation", 0], "positive": ["demo", 1], "negative": ["demo", 2], "vae": ["demo", 3],
            "latent_image": ["latent", 0], "stages": "2x", "seed": 0, "steps": 4, "cfg": 3.0, "sampler_name": "euler",
            "scheduler": "ddim_uniform", "denoise": 0.7, "detail": 2.0, "resize_in": "pixels", "vae_tiling": "auto",
        }),
        "save": ("SaveImage", {"images": ["cascade", 0], "filename_prefix": "bad"}),
    }  # fmt: skip
    titles = {"cascade": CASCADE, "fusion": FUSION, "dilation": DILATION}  # as the editor sends them
    return {
        key: {"class_type": kind, "inputs": values, "_meta": {"title": titles.get(key, kind)}}
        for key, (kind, values) in nodes.items()
    }


def with_node(key: str, kind: str, inputs: dict, **links: str):
    """A change: one node more, its first output wired to `node_input` arguments of the others."""

    def change(prompt: dict) -> None:
        prompt[key] = {"class_type": kind, "inputs": inputs}
        for place in links.values():
            node, name = place.split(".")
            prompt[node]["inputs"][name] = [key, 0]

    return change


def setting(node: str, **values):
    """A change: other values."""
    return lambda prompt: prompt[node]["inputs"].update(values)


def together(*changes):
    """Several changes."""

    def change(prompt: dict) -> None:
        for each in changes:
            each(prompt)

    return change


def regions(side: int = 64, **inputs):
    """A change: a region node that the cascade listens to, on a 64 px picture, with a mask of `side`."""
    numbers = {"detail_inside": 3.0, "detail_outside": 0.5, "feather": 0.0}
    values = {"regions": "", **numbers, "image": ["picture", 0], "mask": ["mask", 0]}
    return together(
        with_node("picture", "EmptyImage", {"width": 64, "height": 64, "batch_size": 1, "color": 0}),
        with_node("mask", "SolidMask", {"value": inputs.pop("value", 1.0), "width": side, "height": 64}),
        with_node("regions", "RegionDetailMask", {**values, **inputs}, to="cascade.detail_map"),
    )


def without_cascade(prompt: dict) -> None:
    """A change: only what others add."""
    del prompt["cascade"], prompt["fusion"], prompt["dilation"], prompt["save"]


def unwire(node: str, name: str):
    """A change: an input without a link."""
    return lambda prompt: prompt[node]["inputs"].pop(name)


picture = with_node("picture", "EmptyImage", {"width": 64, "height": 64, "batch_size": 1, "color": 0}, to="cascade.image")
broken = with_node("broken", "LatentMultiply", {"samples": ["latent", 0], "multiplier": nan}, to="cascade.latent_image")
decoded = with_node("decoded", "VAEDecode", {"samples": ["broken", 0], "vae": ["demo", 3]}, to="cascade.image")
compared = with_node("compare", "FreeScaleCompare", {"image_a": ["picture", 0], "image_b": ["decoded", 0]})
transformer = {"unet_name": "tiny_sd3.safetensors", "weight_dtype": "default"}
text = with_node("text", "PrimitiveString", {"value": "twice"}, to="cascade.stages")

# what is wrong → the change, the node that complains, the input, the value it names, the remedy
TABLE = {
    "stages that do not parse": (setting("cascade", stages="2x, twice"), CASCADE, "stages", "2x, twice", "write factors such as 2x, 2x"),
    "stages that do not parse, through a link": (text, CASCADE, "stages", "twice", "write factors such as 2x, 2x"),
    "no stages": (setting("cascade", stages=" "), CASCADE, "stages", " ", "write for instance 2x, 2x"),
    "a factor that shrinks": (setting("cascade", stages="0.5x"), CASCADE, "stages", "0.5x", "write a factor of 1x or more"),
    "a size that shrinks": (setting("cascade", stages="128x128, 96x128"), CASCADE, "stages", "96x128", "stages can only grow"),
    "a size off the grid": (setting("cascade", stages="100x100"), CASCADE, "stages", "100x100", "write 96x96"),
    "a huge factor": (setting("cascade", stages="2x, 999x"), CASCADE, "stages", "999x", "write a factor of 64x at most"),
    "a factor that is too large": (setting("cascade", stages="63x, 63x"), CASCADE, "stages", "63x", "16384 px at most, which is 4.06x"),
    "a huge size": (setting("cascade", stages="800000x800000"), CASCADE, "stages", "800000x800000", "16384 px at most"),
    "neither latent nor image": (unwire("cascade", "latent_image"), CASCADE, "latent_image, image", "none", "wire exactly one"),
    "both latent and image": (picture, CASCADE, "latent_image, image", "both", "wire exactly one"),
    "a picture of a few px": (together(picture, setting("picture", height=7), unwire("cascade", "latent_image")), CASCADE, "image", "64x7", "Take a larger picture"),
    "no preset": (setting("dilation", preset=None), DILATION, "preset", "None", "it is not one of FreeScale"),
    "a list as stages": (setting("cascade", stages=[5]), CASCADE, "stages", "[5]", "write factors such as 2x, 2x"),
    "too many stages": (setting("cascade", stages="1x," * 17), CASCADE, "stages", "17 stages", "write 16 at most"),
    "a linked value beyond its limits": (with_node("value", "PrimitiveFloat", {"value": -3.0}, to="cascade.detail"), CASCADE, "detail", "-3.0", "a number from 0.0 to 20.0"),
    "a linked value that is no number": (with_node("value", "PrimitiveFloat", {"value": nan}, to="cascade.cfg"), CASCADE, "cfg", "nan", "a number from 0.0 to 100.0"),
    "a latent of another family": (
        with_node("sd3", "EmptySD3LatentImage", {"width": 64, "height": 64, "batch_size": 1}, to="cascade.latent_image"),
        CASCADE, "latent_image", "[1, 16, 8, 8]", "Use a latent made for this model",
    ),
    "a VAE of another family": (
        with_node("sd3", "VAELoader", {"vae_name": "tiny_sd3.safetensors"}, to="cascade.vae"),
        CASCADE, "vae", "16 channels", "Load the VAE that belongs to the checkpoint",
    ),
    "NaN in the latent": (broken, CASCADE, "latent_image", "NaN", "Look at the sampler before it"),
    "NaN in the image": (together(broken, decoded, unwire("cascade", "latent_image")), CASCADE, "image", "NaN", "Look for the node before it"),
    "zero steps": (setting("cascade", steps=0), CASCADE, "steps", "0", "smaller than min of 1"),
    "denoise too small": (setting("cascade", denoise=0.0), CASCADE, "denoise", "0.0", "min of 0.01"),
    "a sampler that scales its state": (setting("cascade", sampler_name="uni_pc"), CASCADE, "sampler_name", "uni", "Take euler"),
    "a sampler that corrects its state": (setting("cascade", sampler_name="sa_solver"), CASCADE, "sampler_name", "sa_solver", "Take euler"),
    "a transformer with SDXL's VAE": (with_node("sd3", "UNETLoader", transformer, to="cascade.model"), CASCADE, "vae", "4 channels", "latents have 16"),
    "start after end": (setting("fusion", start_percent=0.8, end_percent=0.2), FUSION, "start_percent", "0.8", "Make it smaller"),
    "blocks that do not parse": (setting("fusion", blocks="down, midle"), FUSION, "blocks", "midle", "write all, down, middle, up"),
    "blocks that run backwards": (setting("fusion", blocks="input.8-4"), FUSION, "blocks", "input.8-4", "write input.4-8"),
    "layers that do not parse": (setting("dilation", layers="deep"), DILATION, "layers", "deep", "write all, down, middle, up"),
    "layers that are not there": (setting("dilation", preset="custom", layers="input.900"), DILATION, "layers", "input.900", "Write for instance"),
    "a dilation below one": (setting("dilation", factor=0.5), DILATION, "factor", "0.5", "Write 0 to take it"),
    "a mask of another shape": (regions(side=128), REGIONS, "mask", "128x64", "resize the mask"),
    "NaN in the mask": (regions(value=nan), REGIONS, "mask", "NaN", "Look at the node that makes it"),
    "a painting of a later version": (regions(regions='{"version": 2, "shapes": []}'), REGIONS, "regions", "version", "Update the node pack"),
    "regions that are no painting": (regions(regions="left half"), REGIONS, "regions", "left half", "Clear it, or paint it anew"),
    "a shape that does not exist": (regions(regions='{"version": 1, "shapes": [{"kind": "star"}]}'), REGIONS, "regions", "star", "paint it anew"),
    "NaN in a picture to compare": (together(picture, broken, decoded, compared, without_cascade), COMPARE, "image_b", "NaN", "Look for the node before it"),
    "nothing to compare with": (together(picture, compared, unwire("compare", "image_b"), without_cascade), "FreeScaleCompare", "image_b", "image_b", "Required input is missing"),
    "a map of another aspect": (together(regions(), setting("cascade", stages="128x64")), CASCADE, "detail_map", "64x64", "same aspect ratio"),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_refused_before_sampling(comfy, case):
    change, node, name, value, remedy = TABLE[case]
    prompt = base()
    change(prompt)
    run = comfy.run(prompt)
    assert run.ending in ("refused", "execution_error")
    assert not run.all("progress"), "a sampler ran"
    assert not run.all(MESSAGE), "a stage began"
    for word in (node, name, value, remedy):
        assert word in run.error, f"{word!r} is not in: {run.error}"


@pytest.mark.parametrize(
    "case",
    [
        "neither latent nor image", "both latent and image", "a sampler that scales its state", "start after end",
        "stages that do not parse", "a huge factor", "no stages",
    ],
)  # fmt: skip
def test_what_can_be_seen_in_the_workflow_is_refused_once_and_before_anything_runs(comfy, case):
    prompt = base()
    TABLE[case][0](prompt)
    run = comfy.run(prompt)
    assert run.ending == "refused" and run.error.count(TABLE[case][-1]) == 1


def test_blend_sampler_refuses_what_it_cannot_blend(comfy):
    prompt = base()
    del prompt["cascade"], prompt["fusion"], prompt["dilation"]
    parts = {
        "kind": ("KSamplerSelect", {"sampler_name": "uni_pc_bh2"}),
        "blend": ("FreeScaleBlendSampler", {"sampler": ["kind", 0], "detail": 2.0}),
        "sigmas": ("BasicScheduler", {"model": ["demo", 0], "scheduler": "ddim_uniform", "steps": 2, "denoise": 0.7}),
        "noise": ("RandomNoise", {"noise_seed": 1}),
        "guider": ("CFGGuider", {"model": ["demo", 0], "positive": ["demo", 1], "negative": ["demo", 2], "cfg": 2.0}),
        "run": ("SamplerCustomAdvanced", {
            "noise": ["noise", 0], "guider": ["guider", 0], "sampler": ["blend", 0], "sigmas": ["sigmas", 0], "latent_image": ["latent", 0],
        }),
        "save": ("SaveLatent", {"samples": ["run", 0], "filename_prefix": "bad"}),
    }  # fmt: skip
    prompt.update({key: {"class_type": kind, "inputs": inputs} for key, (kind, inputs) in parts.items()})
    run = comfy.run(prompt)
    assert run.ending == "execution_error" and not run.all("progress")
    assert re.search(rf"{BLEND} › sampler = '.*uni.*Take euler", run.error)

    prompt["kind"]["inputs"]["sampler_name"] = "euler"
    prompt["noise"] = {"class_type": "DisableNoise", "inputs": {}}
    run = comfy.run(prompt)
    assert run.ending == "execution_error" and not run.all("progress")
    assert "noise is switched off" in run.error and "RandomNoise instead of DisableNoise" in run.error


def test_the_base_of_these_cases_is_good(comfy):
    prompt = base()
    regions()(prompt)
    run = comfy.run(prompt)
    assert run.ending == "execution_success", run.error
    assert len(run.all("progress")) > 1
