"""What a stage says while nothing seems to happen."""

import pytest
import torch
from freescale.nodes.host.stage.run import run_stage
from staging import stage


@pytest.mark.parametrize("hip", [None, "6.4.43483"])
def test_rocm_tunes_each_new_size(monkeypatch, demo, hip):
    """ComfyUI#12672: on AMD the first step of every new size takes minutes; people take it for a hang. Only ROCm's people are told."""
    monkeypatch.setattr(torch.version, "hip", hip)
    shown = []
    run_stage("node", *demo, stage(128, 128), None, torch.rand(1, 96, 96, 3), shown.append)
    first, *rest = shown
    assert first.startswith("2 steps, at least ")
    assert ("The first step of a new size may take minutes on ROCm" in first) == bool(hip)
    assert not any("ROCm" in text for text in rest)
