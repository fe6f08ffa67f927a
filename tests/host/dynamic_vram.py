"""The host's own patcher of dynamic VRAM, its default on NVIDIA since 2026, on a CPU: only comfy-aimdo's memory is a stand-in."""

import comfy.model_patcher
import pytest
from dits import maker

KINDS = ["plain", "dynamic"] if hasattr(comfy.model_patcher, "ModelPatcherDynamic") else ["plain"]
every_kind = pytest.mark.parametrize("kind", KINDS)


class Buffer:
    """comfy-aimdo's pinned memory, of which only a GPU has any."""

    size = 0

    def __init__(self, *args):
        pass


@pytest.fixture
def loaded(monkeypatch):
    """loaded(family, kind): a MODEL as the host's loaders give it on such hosts, with how to make it once more."""

    def load(family, kind, **built):
        if kind == "plain":
            return maker(family).build(family, **built)
        import comfy_aimdo.host_buffer

        monkeypatch.setattr(comfy_aimdo.host_buffer, "HostBuffer", Buffer)

        class Dynamic(comfy.model_patcher.ModelPatcherDynamic):
            def __new__(cls, *args, **kwargs):
                return object.__new__(cls)  # its own would give a plain one for a CPU

        def once_more(disable_dynamic=False):
            made = maker(family).build(family, **built)
            return made if disable_dynamic else Dynamic(made.model, made.load_device, made.offload_device)

        patcher = once_more()
        patcher.cached_patcher_init = (once_more, ())
        assert patcher.is_dynamic() and patcher.clone().is_dynamic()
        return patcher

    return load
