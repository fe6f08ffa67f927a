"""The templates: each run by the demo model, photographed in ComfyUI's editor, and given its thumbnail."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from pathlib import Path

from editor import LOADERS, NAMES, RENDERERS, launch, open_client, pixels, saved, use_demo_model
from photographs import painter, photograph
from PIL import Image, ImageDraw, ImageOps

from tools.console import say, status
from tools.prompts import run_prompt
from tools.server import Server
from tools.workflows import to_prompt

NATIVE = 256  # px of the demo model
SMALLER = 4  # the demo model's native picture is a quarter of SDXL's
SEED = 5  # of thumbnails; but:
SEEDS = {
    "freescale_sdxl_4k_fast": 14,
    "freescale_zimage_4k": 1,
    "freescale_flux_4k": 2,
    "freescale_qwen_image_4k": 3,
    "freescale_krea2_4k": 8,
    "freescale_wan_1080p": 4,
    "freescale_svd": 9,
    "freescale_videocrafter2": 7,
}
EXAMPLE = ("freescale_sdxl_4k", "Stage 0 (1024 px)")  # the picture that freescale_enhance_image enlarges
PREVIEWED = {"RegionDetailMask": ("overlay", 2), "LoadImage": ("input", 0)}  # outputs that a thumbnail shows, by node
PAINTING = (  # where a template has none yet: the meadow, and the face of seed 5
    '{"version":1,"aspect":1,"shapes":[{"kind":"stroke","detail":4,"radius":1400,"hardness":0.5,"points":[300,8300,9400,0]},'
    '{"kind":"ellipse","detail":0.25,"points":[4300,900,4900,6400]}]}'
)
By = dict[str, list[Image.Image]]  # pictures by the titles of the nodes that saved them
THUMBNAIL = 512  # px


def needs_download(graph: dict) -> bool:
    """Whether a template is made for models that are not in the pack."""
    return any(node["type"] in LOADERS for node in graph["nodes"])


def smaller(prompt: dict, seed: int) -> None:
    """Make a prompt that was written for a model of 1024 px one for the demo model, in its sizes."""
    use_demo_model(prompt)
    for inputs in (node["inputs"] for node in prompt.values()):
        inputs |= {name: inputs[name] // SMALLER for name in ("width", "height") if isinstance(inputs.get(name), int)}
        if "batch_size" in inputs:  # an empty latent: the demo transformer knows squares only
            inputs |= {"width": NATIVE, "height": NATIVE, "batch_size": 1}
        if "megapixels" in inputs:
            inputs["megapixels"] /= SMALLER**2
        wanted = {"cfg": 4.0, "resize_in": "pixels", "seed": seed, "noise_seed": seed, "steps": max(20, inputs.get("steps", 0))}
        inputs |= {name: value for name, value in wanted.items() if name in inputs}


def run(server: Server, name: str) -> dict:
    """The outputs of a template's nodes. It runs once: what it made is kept, and shown from there.

    One that needs a checkpoint is run by the demo model; its pictures are for its thumbnail only.
    """
    graph = saved(name)
    prompt = to_prompt(graph, server.object_info)
    if needs_download(graph):
        smaller(prompt, SEEDS.get(name, SEED))
    for node, entry in list(prompt.items()):
        if entry["class_type"] in PREVIEWED:
            title, output = PREVIEWED[entry["class_type"]]
            prompt[title] = {"class_type": "PreviewImage", "inputs": {"images": [node, output]}, "_meta": {"title": title}}
        if "regions" in entry["inputs"]:
            entry["inputs"]["regions"] = entry["inputs"]["regions"] or PAINTING
    if any(entry["class_type"] == "LoadImage" for entry in prompt.values()):
        shown(server, EXAMPLE[0])[EXAMPLE[1]][0].save(server.workdir / "input" / "example.png")
    made = hashlib.sha256(json.dumps(prompt).encode()).hexdigest()[:12]
    folder = server.workdir / "output" / f"{name}-{made}"
    record = folder / "outputs.json"
    if not record.exists():
        say(f"Running {name} …")
        if any(entry["class_type"] == "FreeScaleTimer" for entry in prompt.values()):
            warm_up(server, prompt)
        outputs = run_prompt(server, prompt, report=status)
        folder.mkdir(exist_ok=True)
        for node, output in outputs.items():
            for kind, number, file in [(k, n, f) for k, fs in output.items() for n, f in enumerate(fs) if isinstance(f, dict)]:
                copy = (folder / f"{node}_{kind}_{number}").with_suffix(Path(file["filename"]).suffix)
                shutil.copyfile(server.workdir / file["type"] / file["subfolder"] / file["filename"], copy)
                file.update(type="output", subfolder=folder.name, filename=copy.name, title=prompt[node]["_meta"]["title"])
        record.write_text(json.dumps(outputs), "utf-8")
    return json.loads(record.read_text("utf-8"))


def warm_up(server: Server, prompt: dict) -> None:
    """Sample a little by every method: a server's first samplings take longer, and timers would tell."""
    brief = deepcopy(prompt)
    for inputs in (node["inputs"] for node in brief.values()):
        inputs |= {"steps": 2} if "steps" in inputs else {}
    run_prompt(server, brief, report=status)


def shown(server: Server, name: str) -> By:
    """The pictures that a template's run saved."""
    pictures: By = {}
    for file in (file for output in run(server, name).values() for file in output.get("images", [])):
        path = server.workdir / "output" / file["subfolder"] / file["filename"]
        pictures.setdefault(file["title"], []).append(pixels(path).convert("RGB"))
    return pictures


# ---------------------------------------------------------------- pictures of a run

FACE = (0.42, 0.26, 0.48)  # left, top and side of what a thumbnail shows enlarged, as shares of the picture's side
DIRECT, STAGES = "Save direct sampling (1024 px)", "Save every stage"


def fitted(picture: Image.Image, px: int = THUMBNAIL) -> Image.Image:
    return picture.resize((px, px), Image.Resampling.LANCZOS)


def face(picture: Image.Image) -> Image.Image:
    left, top, side = (share * picture.width for share in FACE)
    return picture.resize((THUMBNAIL,) * 2, Image.Resampling.BICUBIC, (left, top, left + side, top + side))


def slices(*pictures: Image.Image) -> Image.Image:
    """Upright slices of pictures of one scene, which make one picture together."""
    joined = pictures[0].copy()
    lefts = [THUMBNAIL * n // len(pictures) for n in range(len(pictures))]
    for left, picture in zip(lefts, pictures):
        joined.paste(picture.crop((left, 0, THUMBNAIL, THUMBNAIL)), (left, 0))
    pen = ImageDraw.Draw(joined)
    for left in lefts[1:]:
        pen.line((left, 0, left, THUMBNAIL), "white", 3)
    return joined


def noised(picture: Image.Image, amount: float) -> Image.Image:
    """The picture under noise, as a sampler meets it on its way."""
    noise = Image.merge("RGB", [Image.effect_noise(picture.size, 110) for _ in "rgb"])
    return Image.blend(picture, noise, amount)


def region_thumbnail(by: By) -> Image.Image:
    return slices(fitted(by["overlay"][0]), fitted(by["Save with the map"][0]))


def cells(by: By, columns: int, rows: int) -> Image.Image:
    """The first cells of freescale_compare's grid of four columns and two rows."""
    grid = by["Save the grid"][0]
    return grid.crop((0, 0, grid.width * columns // 4, grid.height * rows // 2))


FROM_RUNS: dict[str, tuple[str, Callable[[By], Image.Image]]] = {
    "workflows/freescale_demo.jpg": ("freescale_demo", lambda by: fitted(by["Save stage 2 (1024 px)"][0])),
    "workflows/freescale_demo_transformer.jpg": ("freescale_demo_transformer", lambda by: fitted(by["Save stage 2 (1024 px)"][0])),
    "workflows/freescale_vs_direct.jpg": ("freescale_vs_direct", lambda by: slices(fitted(by[DIRECT][0]), fitted(by[STAGES][-1]))),
    "workflows/freescale_region_detail.jpg": ("freescale_region_detail", region_thumbnail),
    "workflows/freescale_region_detail_sdxl.jpg": ("freescale_region_detail_sdxl", region_thumbnail),
    "workflows/freescale_region_prompt.jpg": (
        "freescale_region_prompt", lambda by: fitted(by["Save 512 px"][0])
    ),
    "workflows/freescale_sdxl_4k.jpg": (
        "freescale_sdxl_4k",
        lambda by: slices(*(face(by[title][0]) for title in ("Stage 0 (1024 px)", "Save 2048 px", "Save 4096 px"))),
    ),
    **{f"workflows/{name}.jpg": (name, lambda by: fitted(list(by.values())[-1][0])) for name in SEEDS},
    "workflows/freescale_enhance_image.jpg": (
        "freescale_enhance_image", lambda by: slices(face(by["input"][0]), face(by["Save the enlarged picture"][0]))
    ),
    "workflows/freescale_custom_sampler.jpg": (
        "freescale_custom_sampler", lambda by: slices(*(noised(fitted(by["Save 2048 px"][0]), x) for x in (0.75, 0.5, 0.25, 0)))
    ),
    "workflows/freescale_compare.jpg": (
        "freescale_compare", lambda by: ImageOps.fit(cells(by, 2, 2), (THUMBNAIL,) * 2, centering=(0.5, 0))
    ),
    "js/docs/grid.jpg": ("freescale_compare", lambda by: cells(by, 4, 2).resize((964, 524))),
    "js/docs/caption.jpg": ("freescale_compare", lambda by: cells(by, 2, 1).resize((640, 348))),
    "docs/images/direct.jpg": ("freescale_vs_direct", lambda by: fitted(by[DIRECT][0], 640)),
    "docs/images/freescale.jpg": ("freescale_vs_direct", lambda by: fitted(by[STAGES][-1], 640)),
    "docs/images/with_map.jpg": ("freescale_region_detail", lambda by: by["Save with the map"][0]),
    "docs/images/without_map.jpg": ("freescale_region_detail", lambda by: by["Save without"][0]),
}  # fmt: skip

SAMPLING = ("RandomNoise", "CFGGuider", "KSamplerSelect", "FreeScaleBlendSampler", "BasicScheduler", "SamplerCustomAdvanced")
IN_EDITOR: dict[str, tuple[str, str, Callable]] = {
    "js/docs/blend.jpg": ("freescale_custom_sampler", RENDERERS[0], partial(photograph, types=SAMPLING)),
    "js/docs/compare.jpg": ("freescale_compare", RENDERERS[0], partial(photograph, types=("FreeScaleCompare",))),
    "js/docs/painter.jpg": ("freescale_region_detail", RENDERERS[0], painter),
    **{
        f"docs/images/templates/{name}{suffix}.jpg": (name, renderer, photograph)
        for name in NAMES
        for renderer, suffix in zip(RENDERERS, ("", "_nodes2"))
    },
}


def make(server: Server, chromium: str, chosen: list[str]) -> Iterator[tuple[str, Image.Image]]:
    """Each file's picture, all of one renderer together."""
    for name in filter(FROM_RUNS.get, chosen):
        template, picture = FROM_RUNS[name]
        yield name, picture(shown(server, template))
    with launch(chromium) as browser:
        for renderer in RENDERERS:
            names = [name for name in chosen if name in IN_EDITOR and IN_EDITOR[name][1] == renderer]
            client = open_client(server, browser, renderer) if names else None
            for name in names:
                template, _, picture = IN_EDITOR[name]
                graph, outputs = saved(template), run(server, template)
                yield name, picture(client, graph, {} if needs_download(graph) else outputs)
