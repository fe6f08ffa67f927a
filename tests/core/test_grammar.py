"""What people may type, and what they are told when it is wrong."""

import time

import pytest
from freescale.freescale_core.grammar.blocks import Selection, parse_blocks
from freescale.freescale_core.grammar.stages import StageSize, parse_stages, stage_sizes
from hypothesis import given
from hypothesis import strategies as st


def blocks_of(text):
    selection = parse_blocks(text)
    places = [("input", i) for i in range(12)] + [("middle", 0)] + [("output", i) for i in range(12)]
    return {place for place in places if selection.contains(*place)}


EVERY = blocks_of("input, middle, output")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all", EVERY),
        ("down, middle, up", EVERY),
        (" DOWN ,Middle,", {p for p in EVERY if p[0] != "output"}),
        ("down", {p for p in EVERY if p[0] == "input"}),
        ("middle", {("middle", 0)}),
        ("input.4", {("input", 4)}),
        ("input.4-6, output.0", {("input", 4), ("input", 5), ("input", 6), ("output", 0)}),
        ("up.3, down.3-3", {("output", 3), ("input", 3)}),
        ("input.4, input.4", {("input", 4)}),
    ],
)
def test_blocks(text, expected):
    assert len(EVERY) == 25
    assert blocks_of(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no block is named: write all, or for instance down, middle"),
        (" , ,", "no block is named"),
        (
            "dwn, middle",
            "“dwn” is not a block: write all, down, middle, up, input.4, input.4-8 or output.0-2, separated by commas",
        ),
        ("down middle", "“down middle” is not a block"),
        ("input.8-4", "“input.8-4” runs backwards: write input.4-8"),
        ("input.", "“input.” is not a block"),
        ("input.4-", "“input.4-” is not a block"),
        ("input.-1", "“input.-1” is not a block"),
        ("input.1.5", "“input.1.5” is not a block"),
        ("4", "“4” is not a block"),
        ("all.2", "“all.2” is not a block"),
    ],
)
def test_blocks_errors(text, message):
    with pytest.raises(ValueError) as caught:
        parse_blocks(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2x", [StageSize(factor=2.0)]),
        ("2x, 1.5X", [StageSize(factor=2.0), StageSize(factor=1.5)]),
        ("2×,", [StageSize(factor=2.0)]),
        ("2048x1024", [StageSize(size=(1024, 2048))]),  # typed width × height, kept height first
        ("2048 x 2048, 4096 × 4096", [StageSize(size=(2048, 2048)), StageSize(size=(4096, 4096))]),
        ("2x, 4096x4096", [StageSize(factor=2.0), StageSize(size=(4096, 4096))]),
    ],
)
def test_stages(text, expected):
    assert parse_stages(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no stage is given: write for instance 2x, 2x or 2048x2048"),
        ("1x," * 17, "these are 17 stages: write 16 at most"),
        ("2", "“2” is not a stage: write factors such as 2x, 2x or sizes such as 2048x2048, 4096x4096 (width x height)"),
        ("2x 2x", "“2x 2x” is not a stage"),
        ("x2", "“x2” is not a stage"),
        ("-2x", "“-2x” is not a stage"),
        ("0.5x", "“0.5x” would make the picture smaller: write a factor of 1x or more"),
        ("2x, 1000x", "“1000x” is too much at once: write a factor of 64x at most"),
        ("2047x2048", "“2047x2048” is not a multiple of 8 px: write 2048x2048"),
        ("2x, 2044x1001", "“2044x1001” is not a multiple of 8 px: write 2048x1000"),
        ("0x64", "“0x64” is not a multiple of 8 px: write 8x64"),
        ("2048x2048x2", "“2048x2048x2” is not a stage"),
    ],
)
def test_stages_errors(text, message):
    with pytest.raises(ValueError) as caught:
        parse_stages(text)
    assert str(caught.value).startswith(message)


def test_sizes():
    assert stage_sizes("2x, 2x", 1024, 1024) == [(2048, 2048), (4096, 4096)]
    assert stage_sizes("2x, 4096x8192", 1216, 832) == [(2432, 1664), (8192, 4096)]
    assert stage_sizes("1.5x", 1000, 840) == [(1504, 1264)]  # 1500 and 1260 to the nearest 8 px
    assert stage_sizes("1x", 512, 512) == [(512, 512)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1024x2048", "1024x2048 is smaller than the 1216x832 picture before it: stages can only grow"),
        ("2x, 2048x2048", "2048x2048 is smaller than the 2432x1664 picture before it"),
        ("2x, 10x", "24320x16640 is too large: a side may have 16384 px at most, which is 6.73x here"),
    ],
)
def test_sizes_errors(text, message):
    with pytest.raises(ValueError) as caught:
        stage_sizes(text, 832, 1216)
    assert str(caught.value).startswith(message)


tokens = st.sampled_from(
    ["all", "down", "middle", "input", "output", ".", "-", "4", "12", ",", " ", "x", "×", "2048", "1.5", "٣", "0"]
)
texts = st.one_of(st.text(), st.lists(tokens, max_size=12).map("".join), st.text("0123456789x.,", max_size=2000))


@given(texts)
def test_any_text_is_read_or_refused_quickly(text):
    start = time.thread_time()  # other programs do not count
    for parse, kind in ((parse_blocks, Selection), (parse_stages, list), (lambda t: stage_sizes(t, 512, 768), list)):
        try:
            assert isinstance(parse(text), kind)
        except ValueError as error:
            assert len(str(error)) > 20  # a sentence, not a bare code
    assert time.thread_time() - start < 0.5


@given(
    st.integers(1, 2048),
    st.integers(1, 2048),
    st.lists(st.integers(100, 400).map(lambda n: f"{n / 100}x"), min_size=1, max_size=4),
)
def test_stages_never_shrink_and_are_whole_cells(h8, w8, factors):
    height, width = 8 * h8, 8 * w8
    try:
        sizes = stage_sizes(",".join(factors), height, width)
    except ValueError as error:
        assert "too large" in str(error)
        return
    for new in sizes:
        assert new[0] % 8 == new[1] % 8 == 0 and new[0] >= height and new[1] >= width
        height, width = new
