"""What people's saved workflows and prompts rely on: schemas.json is what the nodes promised, and a change of it is deliberate.

A workflow holds node ids, the names of inputs and outputs, links by place and widget values by place; a prompt holds node ids,
inputs' names and outputs' places. Titles, labels, tooltips, folders and what is hidden as `advanced` are free, and not in here.
"""

import copy
import inspect
import json
import os
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import comfy.samplers
import folder_paths
import pytest
from editor import SEED_CONTROLS, WIDGETS
from freescale.nodes import NODES

from tools.folders import ROOT

SNAPSHOT = Path(__file__).with_name("schemas.json")
ANEW = "FREESCALE_SCHEMAS=write python dev.py test tests/test_schemas.py"
HOSTS = {
    "the host's samplers": comfy.samplers.KSampler.SAMPLERS,
    "the host's schedulers": comfy.samplers.KSampler.SCHEDULERS,
    "the host's checkpoints": folder_paths.get_filename_list("checkpoints"),
}
LIMITS = {"min": max, "max": min}  # which of two values lets fewer through
UPLOADS = ("image_upload", "animated_image_upload", "video_upload")  # marks of inputs that get an upload button
# What else of an input decides which widget it gets, what the editor sends, and what the server takes.
MARKS = ("step", "round", "forceInput", "socketless", "widgetType", "multiselect", "dynamicPrompts", "rawLink", *UPLOADS)
FLAGS = {
    "is_output_node": "a saved prompt that ends in this node would be refused, or would run it where it did not before",
    "is_input_list": "a list that is wired in would be taken as a whole instead of item by item, or the other way round",
    "not_idempotent": "two of these nodes with the same inputs would share one result, or no longer do so",
}


def input_entry(kind, options: dict, optional: bool) -> dict:
    """What is kept of an input; a list that the host fills goes by its name."""
    if isinstance(kind, list):  # how older hosts write a combo
        kind, options = "COMBO", {"options": kind, **options}
    marks = {key: options[key] for key in ("default", *LIMITS) if options.get(key) is not None}
    marks |= {key: options[key] for key in MARKS if options.get(key)}
    if "options" in options:
        [choices] = [name for name, choices in HOSTS.items() if choices == options["options"]] or [options["options"]]
        marks["options"] = choices
    if "control_after_generate" in options:  # False says something, too: a seed has it where nothing is said
        marks["control_after_generate"] = options["control_after_generate"]
    return {"type": kind, "optional": optional, **marks}


def node_entry(node) -> dict:
    """What is kept of a node; inputs in the order of the client, which puts optional ones last."""
    schema, info = node.GET_SCHEMA(), node.GET_NODE_INFO_V1()
    inputs = {}
    for group in ("required", "optional"):
        for name, (kind, *options) in info["input"].get(group, {}).items():
            inputs[name] = input_entry(kind, dict(*options), group == "optional")
    outputs = zip(info["output_name"], info["output"], info["output_is_list"])
    return {
        "inputs": inputs,
        "outputs": [{"name": name, "type": kind, "list": is_list} for name, kind, is_list in outputs],
        "hidden": sorted(info["input"].get("hidden", {})),
        **{flag: bool(getattr(schema, flag)) for flag in FLAGS},
    }


def live() -> dict[str, dict]:
    """The promises of the nodes as they are now."""
    return json.loads(json.dumps({node.GET_SCHEMA().node_id: node_entry(node) for node in NODES}))


def written(nodes: dict[str, dict]) -> str:
    """As JSON with an input or output in a line."""
    lines = []
    for name, node in nodes.items():
        parts = []
        for key, value in node.items():
            inner = value and [f"      {json.dumps(e)}: {json.dumps(s)}" for e, s in value.items()] if key == "inputs" else None
            inner = [f"      {json.dumps(output)}" for output in value] if key == "outputs" and value else inner
            opening, closing = "{}" if key == "inputs" else "[]"
            text = f"{opening}\n" + ",\n".join(inner) + f"\n    {closing}" if inner else json.dumps(value)
            parts.append(f"    {json.dumps(key)}: {text}")
        lines.append(f"  {json.dumps(name)}: {{\n" + ",\n".join(parts) + "\n  }")
    return "{\n" + ",\n".join(lines) + "\n}\n"


# ---------------------------------------------------------------- what a change does

Finding = tuple[bool, str]  # (whether it breaks what people saved, a sentence)


def widget_places(inputs: dict[str, dict]) -> list[str]:
    """Names of the values that a workflow saves for a node, in order."""
    names = []
    for name, entry in inputs.items():
        if entry["type"] in WIDGETS and not entry.get("forceInput"):
            names.append(name)
            names += [f"{name}'s control"] if entry.get("control_after_generate", name in ("seed", "noise_seed")) else []
            names += [f"{name}'s upload button"] if any(entry.get(mark) for mark in UPLOADS) else []
    return names


def first_difference(before: list, now: list) -> tuple[int, str, str] | None:
    """(place from 1, what was there, what is there now) of the first place that has changed; more at the end is no change."""
    for place, (was, new) in enumerate(zip_longest(before, now[: len(before)], fillvalue="nothing"), 1):
        if was != new:
            return place, was, new
    return None


def findings_on_nodes(before: dict[str, dict], now: dict[str, dict]) -> Iterator[Finding]:
    """Everything that differs, in words."""
    for name in before:
        if name not in now:
            yield True, f"{name} is gone or has another id: saved workflows and prompts with it can no longer be opened or run"
        else:
            for breaks, text in findings_on_a_node(before[name], now[name]):
                yield breaks, f"{name}: {text}"
    for name in now:
        if name not in before:
            yield False, f"{name} is new"


def findings_on_a_node(before: dict, now: dict) -> Iterator[Finding]:
    """What differs in one node."""
    old, new = before["inputs"], now["inputs"]
    moved_value = first_difference(widget_places(old), widget_places(new))
    moved = first_difference(list(old), list(new))
    if moved_value:
        place, was, name = moved_value
        text = f"widget value {place} was that of {was} and is now that of {name}: "
        yield True, text + "workflows save values by place, so widgets from there on get values of others"
    if moved:
        place, was, name = moved
        yield True, f"input {place} was {was} and is now {name}: workflows save links by place, so they arrive at another input"
    for name in old:
        if name not in new:
            yield True, f"input {name} is gone or has another name: saved links to it are lost, prompts no longer set it"
        else:
            for breaks, text in findings_on_an_input(old[name], new[name]):
                yield breaks, f"input {name}: {text}"
    for name in new:
        if name not in old and not new[name]["optional"]:
            yield True, f"input {name} is new and required: saved prompts lack it and are refused. Make it optional, at the end"
        elif name not in old:
            yield False, f"input {name} is new and optional; its default must give the pictures of before"
    yield from findings_on_outputs(before["outputs"], now["outputs"])
    if before["hidden"] != now["hidden"]:
        yield (
            False,
            f"hidden inputs were {before['hidden']} and are {now['hidden']}: the host fills them, nothing saved names them",
        )
    for flag, consequence in FLAGS.items():
        if before[flag] != now[flag]:
            yield True, f"{flag} is now {now[flag]}: {consequence}"


def findings_on_an_input(before: dict, now: dict) -> Iterator[Finding]:
    """What differs in one input."""
    if before["type"] != now["type"]:
        yield True, f"its type was {before['type']} and is {now['type']}: saved links and values no longer fit"
    if before["optional"] != now["optional"]:
        yield (
            now["optional"] is False,
            "it is now " + ("optional" if now["optional"] else "required: prompts that lack it are refused"),
        )
    if before.get("options") != now.get("options"):
        yield from findings_on_options(before.get("options") or [], now.get("options") or [])
    if before.get("default") != now.get("default"):
        text = f"its default was {before.get('default')!r} and is {now.get('default')!r}: "
        if now["optional"]:
            yield True, text + "workflows and prompts from before it existed take the default, so their pictures change"
        else:
            yield False, text + "what is saved keeps its own value, new nodes draw another picture"
    for limit, narrower in LIMITS.items():
        was, new = before.get(limit), now.get(limit)
        if was != new:
            narrowed = was is None or (new is not None and narrower(was, new) == new)
            yield narrowed, f"its {limit} was {was} and is {new}" + ": saved values beyond it are refused" * narrowed
    for mark in MARKS:
        if before.get(mark) != now.get(mark):
            yield True, f"its {mark} was {before.get(mark)} and is {now.get(mark)}: saved values may be read or rounded otherwise"
    was, new = before.get("control_after_generate"), now.get("control_after_generate")
    if was != new:
        yield True, f"its control_after_generate was {was} and is {new}: it has a place of its own among the saved values"


def findings_on_options(before: list | str, now: list | str) -> Iterator[Finding]:
    """What differs in a combo's options; a text stands for the host's own list."""
    if isinstance(before, str) or isinstance(now, str):
        yield True, f"its options were {before} and are {now}: saved values may not be among them"
        return
    gone, added = [o for o in before if o not in now], [o for o in now if o not in before]
    if gone:
        yield True, f"options {gone} are gone or have other names: saved workflows and prompts with them are refused"
    if added:
        yield False, f"options {added} are new"
    if not gone and [o for o in now if o in before] != before:
        yield False, "its options stand in another order: values are saved as texts, not by place"


def findings_on_outputs(before: list[dict], now: list[dict]) -> Iterator[Finding]:
    """What differs in the outputs."""
    for place, (was, new) in enumerate(zip_longest(before, now)):
        if new is None:
            yield True, f"output {place} ({was['name']}) is gone: links from it, which are saved by place, are lost"
        elif was is None:
            yield False, f"output {place} ({new['name']}) is new, at the end"
        elif was != new:
            text = f"output {place} was {spoken(was)} and is {spoken(new)}: "
            yield True, text + "links are saved by place, with name and type, so they give another value or are lost"


def spoken(output: dict) -> str:
    return f"{output['name']} ({'a list of ' * output['list']}{output['type']})"


def message(findings: list[Finding]) -> str:
    """What the developer reads."""
    broken, allowed = ([text for breaks, text in findings if breaks is kind] for kind in (True, False))
    parts = []
    if broken:
        parts += ["THESE CHANGES BREAK what people have saved. Undo them (CONTRIBUTING.md, Names that stay):"]
        parts += [f"  - {text}" for text in broken]
    if allowed:
        parts += ["These changes are allowed; nothing saved breaks by them:", *(f"  - {text}" for text in allowed)]
    return "\n".join([*parts, f"Where every change is meant, make the snapshot anew and commit it: {ANEW}"])


# ---------------------------------------------------------------- the tests


def test_what_people_saved_still_fits():
    now = live()
    if os.environ.get("FREESCALE_SCHEMAS") == "write":
        SNAPSHOT.write_text(written(now), "utf-8")
    before = json.loads(SNAPSHOT.read_text("utf-8"))
    findings = list(findings_on_nodes(before, now))
    assert not findings, message(findings)
    # What no sentence knows of; the order of the nodes is free.
    assert before == now, f"schemas.json is of another form than this test writes. Make it anew: {ANEW}"


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.GET_SCHEMA().node_id)
def test_a_prompt_without_an_optional_widget_runs_by_its_default(node):
    """The host fills in nothing: what `execute` takes must be what the editor shows."""
    parameters = inspect.signature(node.execute).parameters
    for name, entry in node_entry(node)["inputs"].items():
        if entry["optional"] and name in widget_places({name: entry}):
            assert parameters[name].default == entry["default"], name


CHANGES = {  # (what somebody does to the promises, whether it breaks, words of the sentence)
    "a node renamed": (lambda n: n.update(Fusion=n.pop("ScaleFusionAttentionPatch")), True, "ScaleFusionAttentionPatch is gone"),
    "a node added": (lambda n: n.update(New=n["FreeScaleGrid"]), False, "New is new"),
    "an input renamed": (lambda n: inputs(n, seed=None, zufall=SOME), True, "input seed is gone"),
    "a widget before others": (lambda n: first(n, SOME), True, "value 1 was that of stages and is now that of new"),
    "a socket before others": (lambda n: first(n, {**SOME, "type": "MASK"}), True, "input 1 was model and is now new"),
    "a required widget": (lambda n: inputs(n, new={**SOME, "optional": False}), True, "new is new and required"),
    "an optional widget at the end": (lambda n: inputs(n, new=SOME), False, "new is new and optional"),
    "another type": (lambda n: change(n, "steps", type="FLOAT"), True, "its type was INT and is FLOAT"),
    "no control of the seed": (
        lambda n: change(n, "seed", control_after_generate=False),
        True,
        "value 3 was that of seed's control",
    ),
    "a widget made a socket": (lambda n: change(n, "cfg", forceInput=True), True, "is now that of sampler_name"),
    "an option renamed": (lambda n: change(n, "resize_in", options=["px", "latent"]), True, "options ['pixels'] are gone"),
    "an option added": (lambda n: change(n, "resize_in", options=["pixels", "latent", "no"]), False, "options ['no'] are new"),
    "options turned": (lambda n: change(n, "resize_in", options=["latent", "pixels"]), False, "another order"),
    "the host's options made ours": (lambda n: change(n, "scheduler", options=["beta"]), True, "were the host's schedulers"),
    "another default": (lambda n: change(n, "denoise", default=0.5), False, "new nodes draw another picture"),
    "an optional one's default": (lambda n: change(n, "preset", default="Fast"), True, "their pictures change"),
    "a narrower limit": (lambda n: change(n, "steps", max=100), True, "its max was 1000 and is 100: saved values"),
    "a wider limit": (lambda n: change(n, "denoise", min=-1.0), False, "its min was 0.01 and is -1.0"),
    "a coarser step": (lambda n: change(n, "denoise", step=0.1), True, "its step was 0.01 and is 0.1"),
    "an optional input made required": (lambda n: change(n, "image", optional=False), True, "prompts that lack it"),
    "an output renamed": (lambda n: outputs(n)[0].update(name="one"), True, "was IMAGE (IMAGE) and is one (IMAGE)"),
    "an output made a list": (lambda n: outputs(n)[0].update(list=True), True, "is IMAGE (a list of IMAGE)"),
    "an output gone": (lambda n: outputs(n).pop(), True, "output 2 (stages) is gone"),
    "an output added": (lambda n: outputs(n).append({"name": "m", "type": "MASK", "list": False}), False, "output 3 (m) is new"),
    "no output node": (lambda n: n["FreeScaleCompare"].update(is_output_node=False), True, "is_output_node is now False"),
    "a hidden input": (lambda n: n["FreeScaleGrid"].update(hidden=["prompt"]), False, "were [] and are ['prompt']"),
}
SOME = {"type": "INT", "optional": True, "default": 0}


def outputs(nodes: dict) -> list[dict]:
    """Those of the cascade."""
    return nodes["SelfCascadeUpscale"]["outputs"]


def inputs(nodes: dict, **changed) -> None:
    """Put inputs at the end of the cascade's, or take those away that are None."""
    nodes["SelfCascadeUpscale"]["inputs"].update(changed)
    for name in [name for name, entry in changed.items() if entry is None]:
        del nodes["SelfCascadeUpscale"]["inputs"][name]


def first(nodes: dict, entry: dict) -> None:
    """Put an input before all others of the cascade."""
    nodes["SelfCascadeUpscale"]["inputs"] = {"new": entry, **nodes["SelfCascadeUpscale"]["inputs"]}


def change(nodes: dict, name: str, **marks) -> None:
    """Change an input of the cascade, or else of Scale Fusion."""
    [node] = [n for n in ("SelfCascadeUpscale", "ScaleFusionAttentionPatch") if name in nodes[n]["inputs"]][:1]
    nodes[node]["inputs"][name].update(marks)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_told_in_words(name):
    act, breaks, words = CHANGES[name]
    before = json.loads(SNAPSHOT.read_text("utf-8"))
    now = copy.deepcopy(before)
    act(now)
    findings = list(findings_on_nodes(before, now))
    assert any(words in text for _, text in findings), findings
    assert any(broken for broken, _ in findings) == breaks, findings
    assert ("BREAK" in message(findings)) == breaks and ANEW in message(findings)


# workflows/ are compared with a real server in tests/server/test_workflows.py; a blueprint's inner nodes are compared here.
BLUEPRINTS = sorted((ROOT / "subgraphs").glob("*.json"))


@pytest.mark.parametrize("path", BLUEPRINTS, ids=lambda path: path.stem)
def test_the_blueprints_fit(path):
    nodes = live()
    [subgraph] = json.loads(path.read_text("utf-8"))["definitions"]["subgraphs"]
    found = [node for node in subgraph["nodes"] if node["type"] in nodes]
    assert found
    for node in found:
        entry = nodes[node["type"]]
        values = dict(zip(widget_places(entry["inputs"]), node["widgets_values"], strict=True))
        for name, value in values.items():
            if name.endswith("'s control"):
                assert value in SEED_CONTROLS
                continue
            allowed = entry["inputs"][name]
            choices = allowed.get("options", [value])
            assert value in HOSTS.get(choices, choices) if isinstance(choices, str) else value in choices, name
            assert allowed.get("min", value) <= value <= allowed.get("max", value), name
        for saved in node["inputs"]:
            assert saved["type"] == entry["inputs"][saved["name"]]["type"], saved
            assert ("widget" in saved) == (saved["name"] in values), saved
        assert [(o["name"], o["type"]) for o in node["outputs"]] == [(o["name"], o["type"]) for o in entry["outputs"]]
