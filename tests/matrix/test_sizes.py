"""Every size and aspect: in each layer the planned windows and the whole grid are attended to, and nothing else."""

from dataclasses import replace

import families
import pytest
import torch
from families import FAMILIES, NATIVE, watched
from freescale.freescale_core.geometry import enlargement
from freescale.freescale_core.grammar.stages import SIDE_STEP
from freescale.freescale_core.windows import window_plan

TABLE = "Sizes"
# (height, width) in latent cells, of which the native side has 16
SIZES = {
    "1:1, 2×": (32, 32), "1:1, 4×": (64, 64), "4:1": (16, 64), "1:4": (64, 16), "3:1": (20, 60), "16:9, 2×": (24, 43), "9:16, 2×": (43, 24),
    "2:3, 2.5×": (49, 33), "1:1, 1.25×": (20, 20), "1:1, 1.5×": (24, 24), "1:1, 2.5×": (40, 40), "odd by odd": (37, 29),
    "one side native, the other 2×": (16, 32), "one side native, the other 3×": (48, 16), "below the native area": (12, 20),
}  # fmt: skip


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize(
    "family", [FAMILIES["SDXL"], pytest.param(FAMILIES["SD 1.5"], marks=pytest.mark.long)], ids=lambda f: f.name
)
def test_every_size(graph, draw, publish, caplog, family, name, batch):
    g = graph(family)
    height, width = (SIDE_STEP * cells for cells in SIZES[name])
    g = replace(g, latent={"samples": g.latent["samples"].repeat(batch, 1, 1, 1)})
    model, seen = watched(g.model)
    fused, dilated = families.with_scale_fusion(model), families.with_dilation(g.model)
    plain, with_fusion, with_dilation = (draw(replace(g, model=m), height, width, steps=2) for m in (g.model, fused, dilated))
    size = enlargement(height, width, NATIVE)
    assert torch.equal(with_fusion, plain) == torch.equal(with_dilation, plain) == (size is None)
    assert len(seen) == family.self_attentions
    assert all("4x at once leaves little" in text for text in caplog.messages) and bool(caplog.messages) == ("4×" in name)
    for grid, tokens in seen.values():
        whole = grid[0] * grid[1]
        if size is None:
            assert set(tokens) == {whole}
            continue
        plan = window_plan(*grid, size.ratio)
        window = plan.size[0] * plan.size[1]
        assert window < whole and set(tokens) == {window, whole} and tokens[window] == plan.count * tokens[whole]
    publish(TABLE, name, "Picture, native 128 × 128", f"{width} × {height}")
    plan = size and window_plan(*SIZES[name], size.ratio)
    publish(TABLE, name, "Windows", f"{len(plan.tops)} × {len(plan.lefts)}" if plan else "none: native")
    publish(TABLE, name, "Dilation, S", str(size.factor) if size else "none: native")
    publish(TABLE, name, family.name, "✓")
