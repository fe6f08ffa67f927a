"""Cancel at any step, memory that runs out, and a hundred cascades in one process."""

import gc

import comfy.model_management
import comfy.utils
import psutil
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from families import with_dilation, with_scale_fusion
from freescale.freescale_core.chunks import is_out_of_memory
from freescale.nodes.host import pictures
from freescale.nodes.host.family import family_of
from freescale.nodes.host.seam import attention as host_attention
from freescale.nodes.host.stage.plan import Stage
from freescale.nodes.host.stage.run import run_stage
from patching import LARGE

OutOfMemory = torch.cuda.OutOfMemoryError
SETTINGS = dict(
    seed=3, steps=3, cfg=2.0, sampler_name="euler", scheduler="ddim_uniform", denoise=0.7, detail=2.0, resize_in="pixels", vae_tiling="auto"
)  # fmt: skip
STEPS = 2  # of a stage: the tail of 3


def ours(model):
    return with_dilation(with_scale_fusion(model))


def cascade(demo, model, sizes=(128, 160), native=96, **changed):
    """Stages of the sizes, one after the other; the picture and latent of the last."""
    picture, latent = torch.full((1, 96, 96, 3), 0.5), None
    patched = with_dilation(with_scale_fusion(model, native_size=native), native_size=native)
    for side in sizes:
        stage = Stage(height=side, width=side, **{**SETTINGS, **changed})
        picture, latent = run_stage("FreeScale Cascade", patched, *demo[1:], stage, latent, picture)
    return picture, latent["samples"]


def state(model):
    return [(k, v.sum().item(), v._version) for k, v in model.model.state_dict().items()], {
        k: len(v) for k, v in vars(model).items() if isinstance(v, dict)
    }


@pytest.fixture
def progress_hook():
    """What main.py hangs into the progress bar, where older hosts look for Cancel."""
    comfy.utils.set_progress_bar_global_hook(lambda *_, **__: comfy.model_management.throw_exception_if_processing_interrupted())
    yield
    comfy.utils.set_progress_bar_global_hook(None)


def test_cancel_at_every_step_of_every_stage(demo, progress_hook):
    expected, before = cascade(demo, demo[0])[1], state(demo[0])
    for cancelled in range(2 * STEPS):
        model, calls = demo[0].clone(), []

        def cancel(executor, *args, calls=calls, cancelled=cancelled, **kwargs):
            calls.append(1)
            if len(calls) == cancelled + 1:
                comfy.model_management.interrupt_current_processing()
            return executor(*args, **kwargs)

        model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "test", cancel)
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            cascade(demo, model)
        assert len(calls) == cancelled + 1
    assert torch.equal(cascade(demo, demo[0])[1], expected)
    assert state(demo[0]) == before


# ---------------------------------------------------------------- out of memory


@pytest.mark.parametrize("settings", [{}, {"blur_axes": "hwd"}, {"global_attention": "strided"}])
@pytest.mark.parametrize("limit", [1, 2, 7])
def test_windows_that_do_not_fit_go_in_fewer_at_a_time(model, run, settings, limit):
    """A neighbour whose attention runs out of memory above `limit` windows (or sub-grids) a call; nothing is lost or doubled."""
    batches = []

    def hungry(q, k, v, extra):
        if q.shape[0] > 2 * limit:  # positive and negative
            raise OutOfMemory("injected")
        batches.append(q.shape[0])
        return comfy.ldm.modules.attention.optimized_attention(q, k, v, extra["n_heads"], attn_precision=extra["attn_precision"])

    short = model.clone()
    for layer in family_of(model).attention_layers():
        short.set_model_attn1_replace(hungry, *layer)
    expected, picture = (run(with_scale_fusion(m, **settings), LARGE, steps=1) for m in (model, short))
    assert torch.allclose(picture, expected, rtol=0, atol=1e-5 * float(expected.abs().max())) and max(batches) <= 2 * limit


def test_attention_that_does_not_fit_goes_in_parts_of_the_queries(model, run, monkeypatch):
    queries = []
    attend = host_attention.attention.optimized_attention

    def hungry(q, k, *args, **kwargs):
        if k.shape[1] >= 64:  # tokens of the picture, not of the prompt
            if q.shape[1] > 40:
                raise OutOfMemory("injected")
            queries.append(q.shape[1])
        return attend(q, k, *args, **kwargs)

    expected = run(ours(model), LARGE, steps=1)
    monkeypatch.setattr(host_attention.attention, "optimized_attention", hungry)
    picture = run(ours(model), LARGE, steps=1)
    assert torch.allclose(picture, expected, rtol=0, atol=1e-5 * float(expected.abs().max())) and set(queries) == {32}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OutOfMemory("Allocation on device"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8.96 GB)"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"), False),
    ],
)
def test_what_counts_as_out_of_memory(error, expected):
    """One type for CUDA, words on other devices."""
    assert is_out_of_memory(error) is expected


@pytest.fixture
def vae_of_little_memory(demo, monkeypatch):
    """limit(encode, decode): the VAE's network now fails above the area of a square of so many px."""
    network = demo[3].first_stage_model

    def limit(**sides):
        for name, side in sides.items():
            scale, whole = {"encode": 1, "decode": 8}[name], getattr(network, name)

            def hungry(x, *args, scale=scale, side=side, whole=whole, **kwargs):
                if x.shape[-2] * x.shape[-1] * scale**2 > side**2:
                    raise OutOfMemory("injected")
                return whole(x, *args, **kwargs)

            monkeypatch.setattr(network, name, hungry)

    return limit


def test_a_vae_that_does_not_fit_works_in_tiles(demo, vae_of_little_memory):
    """The host's own care, also where tiling is "never"; the picture stays close."""
    vae, image = demo[3], torch.rand(1, 34, 72, 3, generator=torch.Generator().manual_seed(1))
    image = pictures.resize_image(image, 272, 576).clamp(0, 1)
    latent = pictures.encode(vae, image, "never")
    decoded = pictures.decode(vae, latent, "never")
    vae_of_little_memory(encode=390, decode=390)
    assert (pictures.encode(vae, image, "never") - latent).abs().mean() < 0.02 * latent.abs().mean()
    assert (pictures.decode(vae, latent, "never") - decoded).abs().mean() < 0.01


def out_of_memory(*args, **kwargs):
    raise OutOfMemory("injected")


def test_what_does_not_fit_at_all_says_what_to_lower(demo, vae_of_little_memory, monkeypatch):
    """In the host's own kind of error, at which it unloads its models."""
    expected, before = cascade(demo, demo[0])[1], state(demo[0])
    starved = demo[0].clone()
    starved.set_model_attn2_replace(out_of_memory, "middle", 0)
    with pytest.raises(
        comfy.model_management.OOM_EXCEPTION,
        match="FreeScale Cascade › stages = '128x128': .*fewer pictures.*vae_tiling = always",
    ) as caught:
        cascade(demo, starved)
    assert caught.value.__context__ is None  # nothing keeps the failed stage's tensors
    vae_of_little_memory(decode=8)
    with pytest.raises(comfy.model_management.OOM_EXCEPTION, match="FreeScale Cascade › stages = '128x128'"):
        cascade(demo, demo[0])
    monkeypatch.undo()
    assert state(demo[0]) == before and torch.equal(cascade(demo, demo[0])[1], expected)


# ---------------------------------------------------------------- a long session


@pytest.mark.parametrize("cascades", [12, pytest.param(100, marks=pytest.mark.long)])
def test_many_cascades_in_one_process(demo, cascades):
    """Neither patches, tensors nor memory grow."""

    def measures():
        gc.collect()
        tensors = sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects())
        patchers = sum(type(o).__name__ == "ModelPatcher" for o in gc.get_objects())
        return tensors, patchers, psutil.Process().memory_info().rss

    model, warm = demo[0], cascades // 3
    for number in range(cascades):
        cascade(demo, model, steps=2, cfg=1.0)
        if number == warm:
            start, begun = measures(), state(model)
    end = measures()
    assert end[:2] == start[:2] and state(model) == begun
    assert end[2] - start[2] < 32e6  # bytes; in the long run a leaked picture and latent a cascade would be as much
