"""Every file in workflows/ opens and runs on a real server, and runs are reproducible."""

import numpy as np
import pytest
from editor import LAPTOP, NAMES, READABLE, SEED_CONTROLS, WIDGETS, models, saved
from freescale.nodes.host.demo import HAS_TEXT_ALONE
from safetensors.torch import load_file

from tools.folders import PACK_NAME

ARRANGED = ("Note", "MarkdownNote")  # nodes that only the editor has
TITLE_HEIGHT = 30  # px above a node's position
FITTED = LAPTOP[0] * 0.75, (LAPTOP[1] - 38) * 0.75  # px: newer clients fit a template's nodes into so much, below the tabs
FOLDERS = {
    "CheckpointLoaderSimple": "checkpoints", "UNETLoader": "diffusion_models", "CLIPLoader": "text_encoders",
    "ImageOnlyCheckpointLoader": "checkpoints", "DualCLIPLoader": "text_encoders", "VAELoader": "vae", "LoraLoaderModelOnly": "loras",
}  # fmt: skip
PUBLISHERS = tuple(f"https://huggingface.co/{name}/" for name in ("stabilityai", "Comfy-Org", "comfyanonymous", "ByteDance"))

# What to make smaller, and the sizes (width, height) that must come out.
RUNS = {
    "freescale_demo": ({"steps": 2, "width": 128, "height": 128}, [(128, 128), (256, 256), (512, 512)]),
    "freescale_demo_transformer": ({"steps": 3, "width": 128, "height": 128}, [(128, 128), (256, 256), (512, 512)]),
    "freescale_vs_direct": ({"steps": 2, "width": 128, "height": 128}, [(128, 128), (128, 128), (256, 256), (512, 512)]),
    "freescale_sdxl_4k": ({"steps": 2, "width": 192, "height": 128}, [(384, 256), (768, 512)]),
    "freescale_sdxl_4k_fast": ({"steps": 3, "width": 192, "height": 128}, [(384, 256), (768, 512)]),
    **{
        f"freescale_{model}_4k": ({"steps": 3, "width": 192, "height": 128}, [(192, 128), (384, 256), (768, 512)])
        for model in ("zimage", "flux", "qwen_image", "krea2")
    },
    "freescale_wan_1080p": ({"steps": 4, "width": 192, "height": 128}, [(192, 128), (384, 256)]),
    "freescale_svd": ({"steps": 3, "width": 192, "height": 128}, [(192, 128), (384, 256)]),
    "freescale_videocrafter2": ({"steps": 3, "width": 192, "height": 128, "batch_size": 1}, [(192, 128), (384, 256)]),
    "freescale_enhance_image": ({"steps": 2, "megapixels": 0.05}, [(528, 400)]),
    "freescale_region_detail": ({"steps": 2}, [(512, 512), (512, 512)]),
    "freescale_region_detail_sdxl": ({"steps": 2, "width": 192, "height": 128}, [(384, 256)]),
    "freescale_region_prompt": ({"steps": 4}, [(256, 256), (512, 512)]),
    "freescale_custom_sampler": ({"steps": 2}, [(512, 512)]),
    "freescale_compare": ({"steps": 3}, [(4 * 472 + 5 * 8, 2 * 512 + 3 * 8)]),  # a caption is a twelfth of the width
}


def widgets(node: dict, info: dict) -> list[str]:
    """Names of the values that the editor saves for a node, in order."""
    names = []
    for group in ("required", "optional"):
        for name in info["input_order"].get(group, []):
            kind, options = info["input"][group][name][0], dict(*info["input"][group][name][1:2])
            if isinstance(kind, list) or kind in WIDGETS:
                names.append(name)
                controlled = options.get("control_after_generate", name in ("seed", "noise_seed"))
                names += ["control_after_generate"] if controlled else []
                names += ["upload"] if options.get("image_upload") else []
    return names


def ours(info: dict) -> bool:
    """Whether a node is the pack's; newer hosts give theirs more widgets and outputs than a file saves, at their end."""
    return info["python_module"] == f"custom_nodes.{PACK_NAME}"


def boxes(name: str) -> tuple[list[tuple], list[tuple]]:
    """Left, top, right and bottom of a workflow's nodes, with their titles, and of its groups. A folded node is its title."""
    graph = saved(name)
    nodes = [(*node["pos"], *node["size"], node["flags"].get("collapsed")) for node in graph["nodes"]]
    places = [(x, y - TITLE_HEIGHT, x + width, y + (0 if folded else height)) for x, y, width, height, folded in nodes]
    frames = [group["bounding"] for group in graph["groups"]]
    return places, [(x, y, x + width, y + height) for x, y, width, height in frames]


def test_every_example_is_run():
    assert set(NAMES) == set(RUNS)


@pytest.mark.parametrize("name", NAMES)
def test_opens(comfy, name):
    graph, known = saved(name), comfy.object_info
    nodes = {node["id"]: node for node in graph["nodes"] if node["type"] not in ARRANGED}
    assert graph["version"] == 0.4 and len(nodes) < len(graph["nodes"]), "no note tells what to change"
    for node in nodes.values():
        info = known[node["type"]]
        values = dict(zip(expected := widgets(node, info), node.get("widgets_values", []), strict=ours(info)))
        assert len(values) == len(node.get("widgets_values", []))
        assert {n for n in values if values[n] in SEED_CONTROLS} == {n for n in expected if n.startswith("control")}
        inputs = {**info["input"]["required"], **info["input"].get("optional", {})}
        for entry in node["inputs"]:
            kind = inputs[entry["name"]][0]
            assert entry["type"] == ("COMBO" if isinstance(kind, list) else kind), entry
        outputs = list(zip(info["output_name"], info["output"]))
        assert [(o["name"], o["type"]) for o in node["outputs"]] == outputs[: None if ours(info) else len(node["outputs"])]
    for number, origin, slot, target, place, kind in graph["links"]:
        output, entry = nodes[origin]["outputs"][slot], nodes[target]["inputs"][place]
        assert output["type"] == entry["type"] == kind
        assert number in output["links"] and number == entry["link"]
    savers = [node for node in nodes.values() if node["type"] in ("SaveImage", "SaveVideo")]
    assert savers and all(node["widgets_values"][0].startswith("freescale/") for node in savers)
    notes = "".join(str(node.get("widgets_values")) for node in graph["nodes"] if node["type"] in ARRANGED)
    for loader in (node for node in nodes.values() if node["type"] in FOLDERS):
        files = [value for value in map(str, loader["widgets_values"]) if value.endswith(".safetensors")]
        assert files == [model["name"] for model in models(loader)]
        for model in models(loader):
            assert model["url"].startswith(PUBLISHERS) and model["url"].endswith(f"/{model['name']}")
            assert model["directory"] == FOLDERS[loader["type"]]
            assert model["url"].replace("/resolve/", "/blob/") in notes, "a note says where to get it"


@pytest.mark.parametrize("name", NAMES)
def test_nothing_overlaps(comfy, name):
    nodes, groups = boxes(name)
    for number, a in enumerate(nodes):
        for b in nodes[:number]:
            assert a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3], (a, b)
    for a in nodes:
        inside = [g[0] <= a[0] and g[1] <= a[1] and a[2] <= g[2] and a[3] <= g[3] for g in groups]
        outside = [a[0] >= g[2] or g[0] >= a[2] or a[1] >= g[3] or g[1] >= a[3] for g in groups]
        assert all(i or o for i, o in zip(inside, outside)), f"{a} lies across the edge of a group"


@pytest.mark.parametrize("name", NAMES)
def test_fits_a_laptop(name):
    """The whole of it, in a zoom at which the client still draws text."""
    lefts, tops, rights, bottoms = zip(*boxes(name)[0])
    assert (max(rights) - min(lefts)) * READABLE <= FITTED[0]
    assert (max(bottoms) - min(tops)) * READABLE <= FITTED[1]


@pytest.mark.parametrize("name", NAMES)
def test_runs(comfy, name):
    changes, sizes = RUNS[name]
    prompt = comfy.workflow(name, **changes)
    for node in prompt.values() if name != "freescale_compare" else ():
        if node["class_type"] in ("EmptyLatentImage", "ImageScale"):
            side = {"EmptyLatentImage": 256, "ImageScale": 512}[node["class_type"]]
            node["inputs"].update({"width": changes.get("width", side), "height": changes.get("height", side)})
    run = comfy.run(prompt)
    if name == "freescale_demo_transformer" and not HAS_TEXT_ALONE:
        assert "update ComfyUI to 0.3.75 or newer" in str(run.error)
        return
    assert run.ending == "execution_success", run.error
    assert [(p.shape[1], p.shape[0]) for p in run.pictures] == sizes
    assert all(p.std() > 1 for p in run.pictures), "a picture is empty"


def test_same_prompt_gives_the_same_pixels(comfy):
    prompt = comfy.one_cascade(steps=3, stages="1.5x", seed=5)
    first = comfy.run(prompt).pictures
    comfy.forget()
    again = comfy.run(prompt)
    assert not again.all("execution_cached")[0]["nodes"]
    assert len(first) == 2
    for one, two in zip(first, again.pictures, strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_chain_of_stages_equals_one_cascade(comfy):
    """DESIGN: "2x, 2x" is two chained "2x" nodes, whether the second is fed by LATENT or IMAGE."""
    prompt = comfy.one_cascade(steps=2, width=128, height=192, native_size=128)
    cascade, pictures = comfy.find(prompt, "SelfCascadeUpscale"), comfy.find(prompt, "SaveImage", 1)
    settings = prompt[cascade]["inputs"]
    settings["stages"] = "1.25x, 1.5x"
    source = settings.pop("latent_image")
    for name, stages, start in (
        ("first", "1.25x", {"latent_image": source}),
        ("by latent", "1.5x", {"latent_image": ["first", 1]}),
        ("by image", "1.5x", {"image": ["first", 0]}),
    ):
        prompt[name] = {"class_type": "SelfCascadeUpscale", "inputs": {**settings, **start, "stages": stages}}
    settings["latent_image"] = source
    for name in (cascade, "by latent", "by image"):
        prompt[f"save {name}"] = {"class_type": "SaveLatent", "inputs": {"samples": [name, 1], "filename_prefix": name}}
    run = comfy.run(prompt)
    assert run.ending == "execution_success", run.error
    one, by_latent, by_image = (saved_latent(run, f"save {name}") for name in (cascade, "by latent", "by image"))
    assert one.shape[-2:] == (45, 30)
    assert one.equal(by_latent) and one.equal(by_image)
    assert len(run.outputs[pictures]["images"]) == 2, "one file for each stage"


def saved_latent(run, node: str):
    """The tensor that a SaveLatent node wrote."""
    [entry] = run.outputs[node]["latents"]
    return load_file(run.folder / entry["subfolder"] / entry["filename"])["latent_tensor"]


def test_custom_sampling_equals_the_cascade(comfy):
    """The graph wired from parts gives the bits of FreeScale Cascade with the same settings.

    BasicScheduler's 7 steps at denoise 0.7 are the tail of 10. The cascade pins SDXL's size conditioning to the native
    picture, which a graph does in its text encoder; the demo model has none, so the picture is kept below the size
    where that begins, and the patches are told to act from 128 px on.
    """
    prompt = comfy.workflow("freescale_custom_sampler", seed=3, noise_seed=4, cfg=3.0, native_size=128)
    prompt[comfy.find(prompt, "EmptyLatentImage")]["inputs"].update(width=256, height=192)
    prompt[comfy.find(prompt, "ImageScale")]["inputs"].update(width=304, height=232)
    stage_0, sampler = comfy.find(prompt, "KSampler"), comfy.find(prompt, "SamplerCustomAdvanced")
    prompt[stage_0]["inputs"]["steps"] = 10
    prompt[comfy.find(prompt, "BasicScheduler")]["inputs"]["steps"] = 7
    guider = prompt[comfy.find(prompt, "CFGGuider")]["inputs"]
    vae = prompt[comfy.find(prompt, "VAEEncode")]["inputs"]["vae"]
    cascade = {
        **guider, "vae": vae, "latent_image": [stage_0, 0], "stages": "304x232", "seed": 4, "steps": 10, "sampler_name": "euler",
        "scheduler": "ddim_uniform", "denoise": 0.7, "detail": 2.0, "resize_in": "pixels", "vae_tiling": "auto",
    }  # fmt: skip
    prompt["cascade"] = {"class_type": "SelfCascadeUpscale", "inputs": cascade}
    for name, source in (("parts", [sampler, 0]), ("node", ["cascade", 1])):
        prompt[name] = {"class_type": "SaveLatent", "inputs": {"samples": source, "filename_prefix": name}}
    run = comfy.run(prompt)
    assert run.ending == "execution_success", run.error
    parts, node = saved_latent(run, "parts"), saved_latent(run, "node")
    assert parts.equal(node)
    steps = {data["max"] for data in run.all("progress")}
    assert steps == {10, 7}, "stage 0 made ten steps, the sampler and the cascade seven"
