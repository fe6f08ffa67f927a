"""What Scale Fusion and Restrained Dilation refuse, when queued and when run."""

import pytest
from families import with_dilation as dilation
from families import with_scale_fusion as fusion
from freescale.nodes.patches.restrained_dilation import RestrainedDilation
from freescale.nodes.patches.scale_fusion import ScaleFusionAttentionPatch


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda m: fusion(m, start_percent=0.8, end_percent=0.2),
            ["FreeScale Scale Fusion", "start_percent = 0.8", "end_percent = 0.2"],
        ),
        (lambda m: fusion(m, blocks="input.0"), ["FreeScale Scale Fusion › blocks = 'input.0': none of them has self-attention"]),
        (lambda m: dilation(m, factor=0.5), ["FreeScale Restrained Dilation", "factor = 0.5", "Write 0"]),
        (
            lambda m: dilation(m, preset="custom", layers="input.0"),
            ["FreeScale Restrained Dilation", "layers = 'input.0'", "Write for instance down, middle"],
        ),
    ],
)
def test_bad_settings_are_refused_by_name(model, call, words):
    with pytest.raises(ValueError) as caught:
        call(model)
    assert all(word in str(caught.value) for word in words)


def test_mistyped_lists_are_refused_when_queued():
    assert ScaleFusionAttentionPatch.validate_inputs(blocks="all") is True
    with pytest.raises(ValueError, match="FreeScale Scale Fusion › blocks = 'dwn'"):
        ScaleFusionAttentionPatch.validate_inputs(blocks="dwn")
    assert "FreeScale Restrained Dilation › layers = 'dwn'" in RestrainedDilation.validate_inputs(layers="dwn")
