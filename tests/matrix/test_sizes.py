"""Every size and aspect: what acts, that no token is left out, and that the picture is finite."""

from dataclasses import replace

import families
import pytest
import torch
from families import FAMILIES, NATIVE
from freescale.freescale_core.geometry import enlargement, fixed_views, jittered_views, window_plan

TABLE = "Sizes, for a native 1024 px"
# (height, width) in units of 1/16 of the native side, which is one latent cell of the small models and 64 px of SDXL
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
def test_every_size(graph, draw, publish, family, name, batch):
    g = graph(family)
    height, width = (8 * cells for cells in SIZES[name])
    g = replace(g, latent={"samples": g.latent["samples"].repeat(batch, 1, 1, 1)})
    fused, dilated = families.with_scale_fusion(g.model), families.with_dilation(g.model)
    plain, with_fusion, with_dilation = (draw(replace(g, model=m), height, width, steps=2) for m in (g.model, fused, dilated))
    big = enlargement(height, width, NATIVE)
    assert torch.equal(with_fusion, plain) == torch.equal(with_dilation, plain) == (big is None)
    plan = None
    for level in (2, 4, 8):
        grid = (-(-SIZES[name][0] // level), -(-SIZES[name][1] // level))
        plan = window_plan(*grid, big.ratio) if big else None
        for views in (fixed_views(plan), *(jittered_views(plan, key) for key in range(20))) if plan else ():
            seen = torch.zeros(grid[0] + 2 * plan.jitter[0], grid[1] + 2 * plan.jitter[1])
            for top, bottom, left, right in views.tolist():
                seen[top:bottom, left:right] += 1
            inner = seen[plan.jitter[0] : plan.jitter[0] + grid[0], plan.jitter[1] : plan.jitter[1] + grid[1]]
            assert inner.min() >= 1
    if family.name == "SDXL":
        height, width = (64 * cells for cells in SIZES[name])
        big = enlargement(height, width, 1024)
        publish(TABLE, name, "Picture", f"{width} × {height}")
        if big:
            plan = window_plan(height // 16, width // 16, big.ratio)  # level 640
            publish(TABLE, name, "Windows", f"{len(plan.tops)} × {len(plan.lefts)}")
            publish(TABLE, name, "Dilation, S", str(big.factor))
        else:
            publish(TABLE, name, "Windows", "native: nothing acts")
    publish(TABLE, name, family.name, "✓")
