"""Dilated convolution against its definitions, and the tables of which convolutions each preset reaches."""

from collections import Counter
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from freescale.freescale_core.dilation import PRESETS, Layer, dilated_conv2d, dilated_layers, levels
from freescale.freescale_core.grammar.blocks import parse_blocks

NOTHING = parse_blocks("middle")  # what the widget holds does not matter to a named preset


def layer(seed=0, channels=3):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((5, channels, 3, 3), (5,))]


def picture(h, w, channels=3):
    return torch.randn(2, channels, h, w, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_stride_1_equals_polyphase_plain_convolutions(d):
    """SPEC §3 item 6: d² plain convolutions, one on each sub-grid [a::d, b::d]."""
    x, (weight, bias) = picture(6 * d, 4 * d), layer()
    expected = torch.empty(2, 5, *x.shape[-2:], dtype=x.dtype)
    for a, b in product(range(d), repeat=2):
        expected[..., a::d, b::d] = F.conv2d(x[..., a::d, b::d], weight, bias, padding=1)
    assert torch.allclose(dilated_conv2d(x, weight, bias, (1, 1), d), expected)


@pytest.mark.parametrize("d", [2, 4, 6])
@pytest.mark.parametrize(("h", "w"), [(16, 12), (15, 13)])
def test_stride_2_with_even_d_equals_stride_1_on_every_other_pixel(d, h, w):
    x, (weight, bias) = picture(h, w), layer()
    expected = dilated_conv2d(x[..., ::2, ::2], weight, bias, (1, 1), d // 2)
    assert torch.allclose(dilated_conv2d(x, weight, bias, (2, 2), d), expected)


@pytest.mark.parametrize("around", ["zeros", "circular", "reflect"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("d", [1, 2, 3, 8])
def test_equals_a_layer_with_that_dilation_and_padding(stride, d, around):
    x, (weight, bias) = picture(17, 10), layer()
    reference = torch.nn.Conv2d(3, 5, 3, stride, padding=d, dilation=d, padding_mode=around).double()
    reference.load_state_dict({"weight": weight, "bias": bias})
    for factor in (d, float(d)):  # widgets give floats
        assert torch.equal(dilated_conv2d(x, weight, bias, (stride, stride), factor, around), reference(x))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("factor", [1.25, 1.5, 2.5, 3.9])
@pytest.mark.parametrize(("h", "w"), [(24, 16), (17, 11)])
def test_a_fractional_factor_keeps_the_size(stride, factor, h, w):
    weight, bias = layer()
    plain = F.conv2d(picture(h, w), weight, bias, stride, padding=1)
    assert dilated_conv2d(picture(h, w), weight, bias, (stride, stride), factor).shape == plain.shape


def test_a_fractional_factor_reaches_that_far():
    """Factor 2.5 on a ramp: the outer taps sit 2.5 pixels away, so a difference kernel measures 2 × 2.5 = 5 of them."""
    ramp = torch.arange(60, dtype=torch.float64).expand(1, 1, 40, 60)
    weight = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    weight[0, 0, 1] = torch.tensor([-1.0, 0.0, 1.0])
    out = dilated_conv2d(ramp, weight, None, (1, 1), 2.5)
    assert torch.allclose(out[..., 10:-10, 10:-10], torch.tensor(5.0, dtype=torch.float64))


# ---------------------------------------------------------------- which layers


def layers(down, middle, up):
    """The 3×3 convolutions of a U-Net: per block "r" ResBlock, "d" downsampler, "u" ResBlock and upsampler."""
    found, counts = [], Counter()

    def add(name, *place):
        found.append(Layer(name, *place, counts[place]))
        counts[place] += 1

    for section, kinds in (("input", down), ("middle", middle), ("output", up)):
        for index, kind in kinds.items():
            block = f"{section}_blocks.{index}" if section != "middle" else "middle_block"
            number = index if section != "middle" else 0
            if kind == "d":
                add(f"{block}.0.op", section, number, "downsampler")
                continue
            res = f"{block}.0" if section != "middle" else f"{block}.{index}"
            for part in ("in_layers.2", "out_layers.3"):
                add(f"{res}.{part}", section, number, "residual")
            if kind.startswith("u"):  # after a ResBlock, and a transformer if there is one
                add(f"{block}.{kind[1:]}.conv", section, number, "upsampler")
    return found


def names(layers):
    return [layer.name for layer in layers]


def blocks(kinds, first=0):
    return dict(enumerate(kinds, first))


SDXL = layers(blocks("rrdrrdrr", 1), {0: "r", 2: "r"}, blocks(["r", "r", "u2", "r", "r", "u2", "r", "r", "r"]))
SD15 = layers(blocks("rrdrrdrrdrr", 1), {0: "r", 2: "r"}, blocks(["r", "r", "u1", "r", "r", "u2", "r", "r", "u2", "r", "r", "r"]))
SSD_1B = layers(blocks("rrdrrdrr", 1), {0: "r"}, blocks(["r", "r", "u2", "r", "r", "u2", "r", "r", "r"]))
KOALA_700M = layers(blocks("rdrdr", 1), {}, blocks(["r", "u2", "r", "u2", "r", "r"]))


def residual(*blocks):
    return {f"{block}.{part}" for block in blocks for part in ("in_layers.2", "out_layers.3")}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (SDXL, {"input_blocks.6.0.op"} | residual("input_blocks.7.0", "input_blocks.8.0", "middle_block.0", "middle_block.2")),
        (SD15, {"input_blocks.9.0.op"} | residual("input_blocks.10.0", "input_blocks.11.0", "middle_block.0", "middle_block.2")),
        (SSD_1B, {"input_blocks.6.0.op"} | residual("input_blocks.7.0", "input_blocks.8.0", "middle_block.0")),
        (KOALA_700M, {"input_blocks.4.0.op"} | residual("input_blocks.5.0")),
    ],
    ids=["SDXL", "SD1.5", "SSD-1B", "KOALA-700M"],
)
def test_freescale_preset(model, expected):
    """SPEC §2's table; the last downsampler, what follows it, and the middle that there really is."""
    chosen = names(dilated_layers(model, "FreeScale", NOTHING))
    assert set(chosen) == expected and len(chosen) == len(expected)


def test_up_blocks_and_scalecrafter_presets_on_sdxl():
    base = names(dilated_layers(SDXL, "FreeScale", NOTHING))
    up = residual("output_blocks.0.0", "output_blocks.1.0", "output_blocks.2.0")
    assert set(names(dilated_layers(SDXL, "FreeScale + up blocks", NOTHING))) == set(base) | up
    middle = residual("middle_block.0", "middle_block.2")
    assert set(names(dilated_layers(SDXL, "ScaleCrafter", NOTHING))) == middle | up | {"output_blocks.2.2.conv"}  # SPEC §4: 2048²


def test_custom_preset_follows_the_selection():
    chosen = names(dilated_layers(SDXL, "custom", parse_blocks("input.3-4, middle, output.5")))
    expected = {"input_blocks.3.0.op", "output_blocks.5.2.conv"} | residual(
        "input_blocks.4.0", "middle_block.0", "middle_block.2", "output_blocks.5.0"
    )
    assert set(chosen) == expected
    assert dilated_layers(SDXL, "custom", parse_blocks("all")) == SDXL
    assert dilated_layers(KOALA_700M, "custom", parse_blocks("middle")) == []


@pytest.mark.parametrize("model", [SDXL, SD15, SSD_1B, KOALA_700M])
@pytest.mark.parametrize("preset", PRESETS)
def test_presets_only_name_layers_that_exist(model, preset):
    chosen = dilated_layers(model, preset, parse_blocks("all"))
    assert set(chosen) <= set(model) and len(set(chosen)) == len(chosen)


def numbers(layers):
    return sorted({layer.block for layer in layers})


def test_levels_are_numbered_as_in_diffusers():
    xl = levels(SDXL)
    assert {level: numbers(layers) for level, layers in xl.items()} == {
        ("down", 0): [1, 2, 3], ("down", 1): [4, 5, 6], ("down", 2): [7, 8], ("middle", 0): [0],
        ("up", 0): [0, 1, 2], ("up", 1): [3, 4, 5], ("up", 2): [6, 7, 8],
    }  # fmt: skip
    assert "input_blocks.6.0.op" in names(xl["down", 1]) and "output_blocks.2.2.conv" in names(xl["up", 0])
    v1 = levels(SD15)
    assert numbers(v1["down", 3]) == [10, 11] and numbers(v1["up", 3]) == [9, 10, 11]
