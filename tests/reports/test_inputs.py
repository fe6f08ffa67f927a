"""Every input of every node refuses what it cannot take in a person's words: a table by type, over the nodes' own schemas."""

import re
import time
from math import inf, nan

import comfy.samplers
import folder_paths
import numpy as np
import pytest
import torch
from freescale.nodes import NODES
from freescale.nodes.cascade.blend_sampler import FreeScaleBlendSampler
from freescale.nodes.cascade.cascade import SelfCascadeUpscale
from freescale.nodes.cascade.stage import FreeScaleCascadeStage
from freescale.nodes.compare.caption import FreeScaleCaption
from freescale.nodes.compare.grid import FreeScaleGrid
from freescale.nodes.host.timer import Timer

PICTURE = torch.full((1, 64, 64, 3), 0.5)
TOKENS = torch.zeros(1, 3, 32)
GOOD = {  # a value of each type; those of a model are made when they are needed
    "IMAGE": PICTURE, "MASK": PICTURE[..., 0], "LATENT": {"samples": torch.zeros(1, 4, 8, 8)},
    "CONDITIONING": [[TOKENS, {"pooled_output": torch.zeros(1, 16)}]], "SAMPLER": comfy.samplers.sampler_object("euler"),
    "FREESCALE_DETAIL_MAP": PICTURE[..., 0], "FREESCALE_TIME": Timer("1"), "FREESCALE_STAGE_PICTURES": (PICTURE,),
}  # fmt: skip


def latents(*tensors: object) -> list:
    return [{"samples": tensor} for tensor in tensors]


def with_one(tensor: torch.Tensor, value: float) -> torch.Tensor:
    """The tensor with one broken value."""
    tensor = tensor.clone()
    tensor.view(-1)[-1] = value
    return tensor


# Of each type what is of the type and yet cannot be used; values of all other types come to it.
BAD = {
    "IMAGE": [
        PICTURE[0], PICTURE[None], PICTURE[..., :1], PICTURE[..., :2], PICTURE.repeat(1, 1, 1, 2), PICTURE[:0], PICTURE[:, :0],
        PICTURE[:, :, :0], with_one(PICTURE, nan), with_one(PICTURE, -inf), with_one(PICTURE, nan).half(), (255 * PICTURE).byte(),
    ],
    "MASK": [
        PICTURE, PICTURE[None, ..., 0], PICTURE[0, 0, :, 0], PICTURE[:0, ..., 0], PICTURE[:, :, :0, 0], with_one(PICTURE[..., 0], nan),
        with_one(PICTURE[..., 0], inf).bfloat16(), torch.tensor(1.0),
    ],
    "LATENT": [
        {}, *latents(None, torch.zeros(4, 8, 8), torch.zeros(1, 3, 8, 8), torch.zeros(1, 16, 8, 8), torch.zeros(1, 4, 1, 8, 8),
        torch.zeros(0, 4, 8, 8), torch.zeros(1, 4, 0, 8), torch.full((1, 4, 8, 8), nan), torch.full((1, 4, 8, 8), inf).half()),
    ],
    "FREESCALE_DETAIL_MAP": [
        PICTURE, PICTURE[0, ..., 0], PICTURE[:0, ..., 0], PICTURE[:, :0, :, 0], with_one(PICTURE[..., 0], nan),
        with_one(PICTURE[..., 0], inf),
    ],
    "CONDITIONING": [
        [], [TOKENS], [[TOKENS]], [[TOKENS, None]], [[None, {}]], [[TOKENS[0], {}]], [[TOKENS[:, :0], {}]], [[with_one(TOKENS, nan), {}]],
    ],
    "MODEL": [torch.nn.Linear(1, 1)], "VAE": [torch.nn.Linear(1, 1)], "SAMPLER": ["euler", comfy.samplers.sampler_object("uni_pc")],
    "FREESCALE_TIME": [1.0], "FREESCALE_STAGE_PICTURES": [(), PICTURE, (None,), [PICTURE[0]]],
    "INT": [nan, inf, 0.5, "1", True, 10**30, -(10**30), np.float32(0.5)], "FLOAT": [nan, inf, -inf, "1", True, 1e30, -1e30],
    "COMBO": ["", "no such option", 0, True], "BOOLEAN": ["false", 0.5, nan], "STRING": [1, b"2x", True],
}  # fmt: skip
FOREIGN = [None, object(), {}, [], [[]], torch.zeros(()), torch.zeros(3)]
ALSO = {"FLOAT": {"INT"}, "FREESCALE_DETAIL_MAP": {"MASK"}, "MASK": {"FREESCALE_DETAIL_MAP"}}  # what looks the same
# Refused with another's name: two inputs that say only together what is wrong.
TOGETHER = {"latent_image": "latent_image, image", "image": "latent_image, image"}


def declared(node) -> list:
    return node.define_schema().inputs


def may_be_absent(entry) -> bool:
    return entry.optional and not hasattr(entry, "default")


def bad_values(kind: str) -> list:
    """Everything that an input of a type is to refuse: a type without a row fails here."""
    others = [value for other, value in GOOD.items() if other not in {kind, *ALSO.get(kind, ())}]
    return [*BAD[kind], *others, *FOREIGN]


@pytest.fixture(scope="module")
def values(demo, a_checkpoint):
    """A value that each input which cannot be absent takes, by (node, input)."""
    model, positive, _, vae = demo
    good = {**GOOD, "MODEL": model, "VAE": vae, "CONDITIONING": positive}

    def usual(entry):
        if entry.io_type == "COMBO" and entry.default is None:
            return entry.options[0]
        return good[entry.io_type] if entry.io_type in good else entry.min if entry.default is None else entry.default

    return {(node, entry.id): usual(entry) for node in NODES for entry in declared(node) if not may_be_absent(entry)}


@pytest.fixture(scope="module", autouse=True)
def a_checkpoint(tmp_path_factory):
    """A file in ComfyUI's folder, for inputs that choose one."""
    folder = tmp_path_factory.mktemp("checkpoints")
    (folder / "a.safetensors").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(folder_paths.folder_names_and_paths, "checkpoints", ([str(folder)], {".safetensors"}))
        folder_paths.filename_list_cache.pop("checkpoints", None)
        yield
    folder_paths.filename_list_cache.pop("checkpoints", None)


def execute(node, inputs: dict):
    """Run a node as the host does."""
    return node.execute(**{name: [value] for name, value in inputs.items()} if node is SelfCascadeUpscale else inputs)


@pytest.mark.parametrize(("node", "entry"), [(node, entry) for node in NODES for entry in declared(node)], ids=lambda part: getattr(part, "id", None) or part.__name__)  # fmt: skip
def test_what_an_input_cannot_take_is_refused_in_words(values, node, entry):
    """ComfyUI-DyPE#41, WAS-node-suite#350 (a mask of [1, 1, H, W]), ComfyUI-RMBG#58: "RuntimeError", "EinopsError", "AttributeError"."""
    usual = {name: value for (owner, name), value in values.items() if owner is node}
    if entry.id != "image" and any(other.id == "latent_image" for other in declared(node)):
        usual["latent_image"] = GOOD["LATENT"]
    title = re.escape(node.define_schema().display_name.replace(" Stage (internal)", ""))
    for bad in bad_values(entry.io_type):
        if bad is None and may_be_absent(entry):
            continue
        with pytest.raises(ValueError) as caught:
            execute(node, {**usual, entry.id: bad})
        message = str(caught.value)
        assert type(caught.value) is ValueError and re.match(rf"{title}[a-zA-Z ()]* › {entry.id} = .{{,90}}: .+", message), (
            bad,
            message,
        )


def test_the_table_has_no_row_that_nothing_uses():
    assert {str(entry.io_type) for node in NODES for entry in declared(node)} == set(BAD)


def test_numbers_of_numpy_are_numbers():
    """Nodes that calculate give them, and "it must be a whole number" of an np.int64(5) helps nobody."""
    [expected] = FreeScaleGrid.execute(1, 64, picture_1=PICTURE).args
    assert torch.equal(FreeScaleGrid.execute(np.int64(1), np.uint8(64), picture_1=PICTURE).args[0], expected)
    with pytest.raises(ValueError, match="FreeScale Grid › columns = 65"):
        FreeScaleGrid.execute(np.int64(65), 64, picture_1=PICTURE)


@pytest.mark.parametrize("node", [SelfCascadeUpscale, FreeScaleCascadeStage])
def test_two_sources_say_where_the_second_may_come_from(values, node):
    """cg-use-everywhere#201: "A means to be notified of or opt out of use-everywhere connections"."""
    usual = {name: value for (owner, name), value in values.items() if owner is node}
    words = "latent_image, image = 'both': wire exactly one of them.* Use Everywhere .* reject their links"
    with pytest.raises(ValueError, match=words):
        execute(node, {**usual, "latent_image": GOOD["LATENT"], "image": PICTURE})
    with pytest.raises(ValueError, match="latent_image, image = 'none': wire exactly one of them: [^.]*$"):
        execute(node, usual)


@pytest.mark.parametrize("shape", [(64, 64), (32, 16), (100, 220)])
def test_a_map_of_another_shape_is_refused_when_sampling_starts(sketch, run, shape):
    """The cascade refuses it when it is queued; the Blend Sampler learns of the latent last, and stretched the map without a word."""

    def blending(height, width):
        detail_map = torch.full((1, height, width), 3.0)
        return FreeScaleBlendSampler.execute(comfy.samplers.sampler_object("euler"), 2.0, detail_map).args[0]

    with pytest.raises(
        ValueError, match=rf"FreeScale Blend Sampler › detail_map = '{shape[1]}x{shape[0]}': .* same aspect ratio"
    ):
        run(sketch, (16, 32), sampler=blending(*shape))
    for fitting in ((8, 16), (1024, 2048), (100, 205)):
        run(sketch, (16, 32), sampler=blending(*fitting))


@pytest.mark.parametrize(
    "label", ["two\nlines\r\nof it", "", " ", "\0", "\ud800", "x" * 100_000, "漢字" * 5000], ids=lambda text: repr(text[:9])
)
def test_any_text_can_be_a_caption(label):
    """A prompt of several lines, linked to the label, was "can't measure length of multiline text"; a long one took a time that grew with its square."""
    started = time.process_time()
    [picture] = FreeScaleCaption.execute(PICTURE, label).args
    assert picture.shape[1:] == (80, 64, 3) and torch.equal(picture[:, 16:], PICTURE)
    assert time.process_time() - started < 5
