"""Random values for every input of our nodes, typed or linked: a valid picture, or an error in a person's words. Never a traceback."""

import json
import re

import pytest
import torch
from freescale.freescale_core.grammar.stages import SIDE_STEP, stage_sizes
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

LARGEST = 192**2  # px², so that a case takes a fraction of a second
OURS = r"FreeScale ([A-Z][A-Za-z ]+ › [a-z_, ]+ = |blend: the noise is switched off)"
PRIMITIVES = {
    int: "PrimitiveInt",
    float: "PrimitiveFloat",
    str: "PrimitiveString",
}  # the host lets their values through unchecked
NODES = {
    "demo": "FreeScaleDemoModel", "fusion": "ScaleFusionAttentionPatch", "dilation": "RestrainedDilation",
    "regions": "RegionDetailMask", "cascade": "SelfCascadeUpscale", "blend": "FreeScaleBlendSampler",
}  # fmt: skip
WIRES = {
    "fusion.model": ["demo", 0], "dilation.model": ["fusion", 0], "cascade.model": ["dilation", 0],
    "cascade.positive": ["demo", 1], "cascade.negative": ["demo", 2], "cascade.vae": ["demo", 3], "blend.sampler": ["kind", 0],
    "sample.sampler": ["blend", 0], "sample.model": ["dilation", 0], "sample.positive": ["demo", 1], "sample.negative": ["demo", 2],
    "sample.sigmas": ["schedule", 0], "sample.latent_image": ["latent", 0], "schedule.model": ["dilation", 0],
}  # fmt: skip
OUTPUTS = [("samples", "SaveLatent", "cascade", 1), ("samples", "SaveLatent", "sample", 0), ("images", "SaveImage", "regions", 2)]

factors = st.floats(1, 3).map(lambda factor: f"{factor:.3g}x")
sizes = st.tuples(*[st.integers(1, 24)] * 2).map(lambda cells: "x".join(str(cell * SIDE_STEP) for cell in cells))
nonsense = st.one_of(st.text(max_size=20), st.text("0123456789x×.,-+ e", max_size=12))
blocks = st.sampled_from(["all", "down", "middle", "up", "input.4-8", "output.0", "input.7, middle"])
document = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["version", "shapes", "kind", "detail", "points"]), inner, max_size=3)
    ),
    max_leaves=8,
)
# Paintings that no painter makes: every corner of the format, shapes beyond the picture, over and over; and what is just outside.
places = st.sampled_from([0, 1, 5000, 9999, -40_000, 40_000]) | st.integers(-40_000, 40_000)
alphas = st.none() | st.floats(0, 20) | st.sampled_from([0, 20])
strokes = st.builds(
    lambda points, pressure, **more: {"kind": "stroke", "pressure": pressure, "points": points * (3 if pressure else 2), **more},
    st.lists(places, min_size=1, max_size=40), st.booleans(), detail=alphas, radius=st.sampled_from([1, 5000]) | st.integers(1, 5000),
    hardness=st.sampled_from([0, 1]) | st.floats(0, 1),
)  # fmt: skip
outlines = st.builds(
    lambda kind, points, detail: {"kind": kind, "points": points * (5 if kind == "lasso" else 1), "detail": detail},
    st.sampled_from(["rectangle", "ellipse", "lasso"]), st.lists(places, min_size=4, max_size=4), alphas,
)  # fmt: skip
wholes = st.builds(lambda detail: {"kind": "fill", "detail": detail}, alphas) | st.just({"kind": "invert"})
shapes = st.lists(strokes | outlines | wholes, max_size=4).flatmap(lambda some: st.sampled_from([some, 20 * some]))
aspects = st.sampled_from([0.01, 1, 100]) | st.floats(0.01, 100)
paintings = st.builds(lambda shapes, aspect: {"version": 1, "aspect": aspect, "shapes": shapes}, shapes, aspects)
nearly = st.builds(
    lambda painting, shape, name, value: {**painting, "shapes": [*painting["shapes"], {**shape, name: value}]},
    paintings, strokes | outlines | wholes, st.sampled_from(["kind", "detail", "radius", "hardness", "points", "colour"]),
    st.sampled_from([-5, -0.0, 10**9, 1e300, None, True, [], [0.5, 1], "round"]),
)  # fmt: skip
ANYTHING = st.one_of(st.integers(), st.floats(), nonsense, st.none(), st.booleans(), st.lists(st.integers(), max_size=1))
# What a person would write, where the schema allows more.
GOOD = {
    "stages": st.lists(factors | sizes, min_size=1, max_size=2).map(", ".join),
    "blocks": blocks,
    "layers": blocks,
    "regions": st.just("") | paintings.map(json.dumps),
    "steps": st.integers(2, 4),
    "denoise": st.floats(0.6, 1),
    "start_percent": st.floats(0, 0.3),
    "end_percent": st.floats(0.3, 1),
    "factor": st.just(0.0) | st.floats(1, 16),
    "native_size": st.sampled_from([0, 64, 128, 1024]),
}
# And what comes near it.
WRONG = {"stages": nonsense, "blocks": nonsense, "layers": nonsense, "regions": (document | nearly).map(json.dumps) | nonsense}


def good(name: str, kind, options: dict):
    """Values that the schema of an input allows."""
    if name in GOOD:
        return GOOD[name]
    if kind in ("INT", "FLOAT"):
        return (st.integers if kind == "INT" else st.floats)(options["min"], options["max"])
    return st.booleans() if kind == "BOOLEAN" else st.sampled_from(options["options"])


def widgets(object_info: dict) -> dict[str, tuple]:
    """ "node.input" → (name, type, options) of every value that a person can set."""
    return {
        f"{node}.{name}": (name, kind, rest[0] if rest else {})
        for node, class_type in NODES.items()
        for name, (kind, *rest) in object_info[class_type]["input"]["required"].items()
        if kind in ("INT", "FLOAT", "BOOLEAN", "STRING", "COMBO")
    }


@st.composite
def prompts(draw, inputs: dict[str, tuple]) -> tuple[dict, tuple[int, int], bool]:
    """(a prompt around our nodes, the height and width px that its cascade starts from, whether each of its values is good)."""
    wrong = draw(st.sets(st.sampled_from(sorted(inputs)), max_size=2)) if draw(st.booleans()) else set()
    linkable = [place for place, (_, kind, _) in inputs.items() if kind != "COMBO"]
    linked = draw(st.sets(st.sampled_from(linkable), max_size=3))
    prompt = {key: {"class_type": kind, "inputs": {}} for key, kind in NODES.items()}
    for place, (name, kind, options) in inputs.items():
        node, _ = place.split(".")
        value = draw(WRONG.get(name, ANYTHING) | ANYTHING if place in wrong else good(name, kind, options))
        if place in linked and type(value) in PRIMITIVES:
            prompt[place] = {"class_type": PRIMITIVES[type(value)], "inputs": {"value": value}}
            value = [place, 0]
        prompt[node]["inputs"][name] = value

    batch = draw(st.integers(1, 2))
    height, width = (draw(st.integers(2, 12)) * SIDE_STEP for _ in range(2))
    rows, columns = (draw(st.integers(1, 96)) for _ in range(2))
    picture = {"width": columns, "height": rows, "batch_size": batch, "color": 0x405060}
    prompt |= {
        "latent": {"class_type": "EmptyLatentImage", "inputs": {"width": width, "height": height, "batch_size": batch}},
        "picture": {"class_type": "EmptyImage", "inputs": picture},
        "mask": {"class_type": "SolidMask", "inputs": {"value": draw(st.floats(0, 1)), "width": columns, "height": rows}},
        "kind": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": draw(good(*inputs["cascade.sampler_name"]))}},
        "schedule": {"class_type": "BasicScheduler", "inputs": {"scheduler": "normal", "steps": 2, "denoise": 0.6}},
        "sample": {"class_type": "SamplerCustom", "inputs": {"add_noise": draw(st.integers(0, 5)) < 5, "noise_seed": 1, "cfg": 2.0}},
    }  # fmt: skip
    wanted, kind, *output = draw(st.sampled_from(OUTPUTS))
    prompt["save"] = {"class_type": kind, "inputs": {wanted: output, "filename_prefix": "fuzz"}}
    for place, source in WIRES.items():
        node, name = place.split(".")
        prompt[node]["inputs"][name] = source
    start = draw(st.sets(st.sampled_from(["latent_image", "image"]), max_size=2) if "cascade.stages" in wrong else st.sampled_from([{"latent_image"}, {"image"}]))  # fmt: skip
    sources = {"latent_image": ["latent", 0], "image": ["picture", 0]}
    prompt["cascade"]["inputs"] |= {name: sources[name] for name in start}
    for name in ("image", "mask"):
        if draw(st.booleans()):
            prompt["regions"]["inputs"][name] = [{"image": "picture"}.get(name, name), 0]
    drawn_on = (rows, columns) if start == {"image"} and output[0] == "cascade" else (height, width)
    area = draw(st.none() | areas(*drawn_on))
    if area:
        between(prompt, "demo", area[0], "conditioning", area[1], slot=1)
    # SaveImage takes no bfloat16, and ComfyUI itself divides 0 by 0 in float16 where no prompt's area lies.
    for kind, name, narrow in (("LATENT", "latent", not area), ("MASK", "mask", True), ("IMAGE", "picture", True)):
        if dtype := draw(st.sampled_from([None, None, *["float16"] * narrow, *["bfloat16"] * (kind != "IMAGE")])):
            between(prompt, name, f"NeighbourHalf{kind}", "value", {"dtype": dtype})
    for name in ("kind", "blend"):
        if draw(st.integers(0, 3)) == 0:
            between(prompt, name, "NeighbourLying", "sampler", {})
    if draw(st.booleans()):
        prompt["cascade"]["inputs"]["detail_map"] = prompt["blend"]["inputs"]["detail_map"] = ["regions", 0]
    prompt = {key: node for key, node in prompt.items() if key in needed(prompt, "save")}
    return prompt, (rows, columns) if start == {"image"} else (height, width), not wrong


@st.composite
def areas(draw, height: int, width: int) -> tuple[str, dict]:
    """A node that binds a prompt to a part of a picture, in px or in shares of it: (its class, its values)."""
    shares = [draw(st.floats(0, 0.9)) for _ in "xy"], [draw(st.floats(0.1, 1)) for _ in "xy"]
    x, y, wide, high = (share * side for pair in shares for share, side in zip(pair, (width, height)))
    values = dict(x=int(x), y=int(y), width=max(64, int(wide)), height=max(64, int(high)), strength=draw(st.floats(0.1, 2)))
    if draw(st.booleans()):
        cells = {name: value if name == "strength" else value // 8 * 8 for name, value in values.items()}
        return "ConditioningSetArea", cells
    return "ConditioningSetAreaPercentage", values | dict(zip(("x", "y", "width", "height"), sum(shares, [])))


def between(prompt: dict, source: str, kind: str, name: str, values: dict, slot: int = 0) -> None:
    """Lead all that is wired to a node's output through another node."""
    for node in prompt.values():
        node["inputs"] = {n: [f"{source} by {kind}", 0] if v == [source, slot] else v for n, v in node["inputs"].items()}
    prompt[f"{source} by {kind}"] = {"class_type": kind, "inputs": {name: [source, slot], **values}}


def needed(prompt: dict, node: str) -> set[str]:
    """The node and all that it is wired to."""
    sources = [value[0] for value in prompt[node]["inputs"].values() if isinstance(value, list) and len(value) == 2]
    return {node}.union(*(needed(prompt, source) for source in sources))


def last_size(prompt: dict, size: tuple[int, int]) -> tuple[int, int] | None:
    """(height, width) px that the cascade is to end at, or None where its stages are wrong; only small ones are tried."""
    if "cascade" not in prompt:
        return None
    stages = prompt["cascade"]["inputs"]["stages"]
    stages = prompt[stages[0]]["inputs"]["value"] if isinstance(stages, list) and stages[:1] == ["cascade.stages"] else stages
    try:
        ends = stage_sizes(stages, *size)
    except (ValueError, AttributeError):
        return None
    assume(sum(height * width for height, width in ends) <= LARGEST)
    return ends[-1]


# What a person can ask for that is refused although each value is good.
TOGETHER = (
    "sampler_name = ", "sampler = ", "no step of the", "stages can only grow", "the noise is switched off", "the same aspect ratio",
    "resize the mask", "One mask for all", "Wire one mask", "no 3×3 convolution lies there", "none of them has self-attention", "less than 8 px",
)  # fmt: skip


def check(run, size: tuple[int, int] | None, good: bool) -> None:
    """What must hold, and more where every value alone is `good`."""
    if run.ending == "refused" or run.refused:
        [answer] = run.all("refused") or [{"node_errors": run.refused}]
        problems = [problem for node in answer["node_errors"].values() for problem in node["errors"]]
        assert problems and (not good or any(words in problem["details"] for problem in problems for words in TOGETHER)), problems
        assert all(re.match(OURS, problem["details"]) for problem in problems if problem["type"].startswith("exception"))
    elif run.ending == "execution_error":
        [error] = run.all("execution_error")
        assert error["exception_type"].endswith("ValueError") and re.match(OURS, error["exception_message"]), (
            error["exception_type"], error["exception_message"], *error["traceback"][-2:],
        )  # fmt: skip
        assert not good or any(words in run.error for words in TOGETHER), run.error
    else:
        saved = run.outputs["save"]
        for latent in saved.get("latents", ()):
            samples = load_file(run.folder / latent["filename"])["latent_tensor"]
            assert torch.isfinite(samples).all()
            if run.prompt["save"]["inputs"]["samples"][0] == "cascade":
                assert tuple(side * SIDE_STEP for side in samples.shape[-2:]) == size
        assert saved.get("latents") or saved.get("images")


@pytest.mark.parametrize("cases", [200, pytest.param(10_000, marks=pytest.mark.long)])
def test_any_values_give_a_picture_or_a_plain_error(comfy, cases):
    endings = []

    @settings(max_examples=cases, derandomize=cases < 1000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(prompts(widgets(comfy.object_info)))
    def fuzz(case):
        prompt, size, good = case
        end = last_size(prompt, size)
        run = comfy.run(prompt)
        endings.append(run.ending)
        check(run, end, good)

    fuzz()
    assert {"refused", "execution_error", "execution_success"} == set(endings)
    assert endings.count("execution_success") > len(endings) / 4
