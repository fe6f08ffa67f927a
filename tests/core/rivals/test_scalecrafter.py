"""ScaleCrafter's tables and schedule, beside values worked out by hand."""

import pytest
from freescale.freescale_core.rivals import scalecrafter


def test_scalecrafters_tables():
    """SPEC §4, level by level."""
    row = scalecrafter.redilation(3, 2.0)
    assert (row.until, row.factors, row.damped) == (30, {("middle", 0): 2, ("up", 0): 2}, None)
    row = scalecrafter.redilation(3, 2.5)
    assert (row.until, row.factors) == (30, {("middle", 0): 2.5, ("up", 0): 2.5})
    row = scalecrafter.redilation(3, 4.0)
    assert (row.until, row.damped) == (35, {("middle", 0): 2, ("up", 0): 2})
    assert row.factors == {("down", 2): 4, ("middle", 0): 4, ("up", 0): 4, ("up", 1): 3, ("up", 2): 2}
    everywhere = [("down", 1), ("down", 2), ("down", 3), ("middle", 0), ("up", 0), ("up", 1), ("up", 2)]
    assert scalecrafter.redilation(4, 2.0).factors == dict.fromkeys(everywhere, 2)
    assert scalecrafter.redilation(4, 2.0).until == 30
    assert scalecrafter.redilation(4, 2.5).factors == dict.fromkeys(everywhere, 2.5)
    assert scalecrafter.redilation(4, 2.5).until == 35
    row = scalecrafter.redilation(4, 4.0)
    assert row.factors == dict(zip(everywhere, (2, 3, 4, 4, 4, 3, 2)))
    assert row.damped == {level: d for level, d in row.factors.items() if level not in (("down", 1), ("up", 2))}


@pytest.mark.parametrize(
    ("ratio", "deepest", "until"), [(1.25, 1.25, 30), (2.04, 2, 30), (2.2, 2.2, 30), (3.0, 3, 30), (3.5, 3.5, 35), (8, 8, 35)]
)
def test_other_sizes_take_the_nearest_row_and_their_own_enlargement(ratio, deepest, until):
    row = scalecrafter.redilation(3, ratio)
    assert row.until == until and row.factors["middle", 0] == pytest.approx(deepest)
    if until == 35:
        assert row.factors["up", 2] == pytest.approx(2 * ratio / 4) and row.damped["middle", 0] == pytest.approx(2 * ratio / 4)


def test_the_schedule_is_progressive_where_the_guidance_is_damped():
    """τ = 35 from d = 4: ⌈4 (35 − i)/35⌉, at least 2; the other rows stay as they are until τ."""
    row = scalecrafter.redilation(3, 4.0)
    assert [row.at(i)["middle", 0] for i in (0, 8, 9, 17, 18, 34)] == [4, 4, 3, 3, 2, 2]
    assert [row.at(i)["up", 1] for i in (0, 11, 12, 34)] == [3, 3, 2, 2]
    assert row.at(0, damped=True) == {("middle", 0): 2, ("up", 0): 2}
    assert row.at(35) == row.at(35, damped=True) == {}
    row = scalecrafter.redilation(3, 2.5)
    assert row.at(0) == row.at(29) == row.factors and row.at(30) == row.at(0, damped=True) == {}
