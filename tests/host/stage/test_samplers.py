"""The blend inside every sampler that the host registers, one by one."""

import comfy.sample
import comfy.samplers
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from freescale.nodes.cascade.blend_sampler import FreeScaleBlendSampler
from freescale.nodes.host.stage.blend import BlendSampler
from freescale.nodes.host.stage.samplers import MULTI_STEP, ONE_STEP, REPLANNED, require_blendable

REFUSED = {"uni_pc", "uni_pc_bh2", "sa_solver", "sa_solver_pece"}
# A ddim is an euler with other noise under a mask. Older hosts lack the younger samplers.
EXACT = tuple(name for name in (*ONE_STEP, *MULTI_STEP, "ddim") if name in comfy.samplers.KSampler.SAMPLERS)
SIZE = (8, 8)
SIGMAS = torch.tensor([6.0, 3.0, 1.4, 0.6, 0.2, 0.0])
STEPS = len(SIGMAS) - 1
NEVER = 1e9  # as detail: c = (< 1)^1e9 = 0


@pytest.fixture
def model(sketch):
    return sketch


def blended(name, detail, options=None, **more):
    return BlendSampler(host(name, options), detail, **more)


def host(name, options=None):
    return comfy.samplers.ksampler(name, options) if options else comfy.samplers.sampler_object(name)


def watched(model):
    """A clone that records the state and noise level of every call of its denoiser."""
    calls, patched = [], model.clone()

    def note(executor, x, timestep, *args, **kwargs):
        calls.append((float(timestep[0]), x.clone()))
        return executor(x, timestep, *args, **kwargs)

    patched.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, "test", note)
    return patched, calls


def test_every_sampler_of_this_host_is_classified():
    """A new host release that brings a sampler fails here: decide how it is blended, or refuse it."""
    known = (*EXACT, *REPLANNED, *REFUSED)
    assert sorted(comfy.samplers.KSampler.SAMPLERS) == sorted(known)


@pytest.mark.parametrize("name", EXACT)
def test_without_a_blend_it_is_the_hosts_sampler_bit_for_bit(model, run, name):
    patched, calls = watched(model)
    expected = run(patched, SIZE, sampler=host(name), sigmas=SIGMAS)
    own = len(calls)
    assert torch.equal(run(patched, SIZE, sampler=blended(name, NEVER), sigmas=SIGMAS), expected)
    assert len(calls) == 2 * own


@pytest.mark.parametrize("name", EXACT + REPLANNED)
def test_blends_the_samplers_own_state_at_every_step(model, run, name):
    """α = 0 holds it fully (c = 1): every outer step must then start from z + σ ε itself, with the ε of the start."""
    patched, calls = watched(model)
    noise = torch.randn(1, 4, *SIZE, generator=torch.Generator().manual_seed(3))
    z = model.get_model_object("latent_format").process_in(torch.randn(1, 4, *SIZE, generator=torch.Generator().manual_seed(9)))
    out = run(patched, SIZE, sampler=blended(name, 0.0), sigmas=SIGMAS, noise=noise)
    assert torch.isfinite(out).all()
    last = 1 if name == "dpm_adaptive" else 0  # it has nothing left to do on [σ_min, 0]
    for sigma in SIGMAS[: STEPS - last].tolist():
        reference = z + sigma * noise
        assert any(abs(s / sigma - 1) < 1e-4 and torch.allclose(x, reference, atol=1e-5) for s, x in calls)


@pytest.mark.parametrize("name", EXACT + REPLANNED)
def test_the_usual_blend_is_finite_and_repeatable(model, run, name):
    first, second = (run(model, SIZE, sampler=blended(name, 2.0), sigmas=SIGMAS) for _ in range(2))
    assert torch.isfinite(first).all() and torch.equal(first, second)
    assert not torch.allclose(first, run(model, SIZE, sampler=host(name), sigmas=SIGMAS))


@pytest.mark.parametrize("name", EXACT + REPLANNED)
def test_progress_counts_each_step_once(model, run, name):
    seen = []
    run(
        model, SIZE, sampler=blended(name, 2.0), sigmas=SIGMAS, callback=lambda i, x0, x, total: seen.append((i, total, x0.shape))
    )
    assert {(total, shape) for _, total, shape in seen} == {(STEPS, (1, 4, *SIZE))}
    steps = [i for i, _, _ in seen]
    if name == "dpm_adaptive":  # reports each of its trials, none on the last interval
        assert steps == sorted(steps) and set(steps) == set(range(STEPS - 1))
    else:
        assert steps == list(range(STEPS))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("euler", {"s_churn": 4.0, "s_tmin": 0.3}),
        ("heun", {"s_churn": 1.0, "s_noise": 1.1}),
        ("euler_ancestral", {"eta": 0.6, "s_noise": 1.05}),
        ("dpmpp_sde", {"eta": 0.5, "r": 0.4}),
        ("dpmpp_2m_sde", {"solver_type": "heun"}),
        ("lms", {"order": 2}),
    ],
)
def test_the_options_of_sampler_nodes_are_kept(model, run, name, options):
    """Churn is spread over all steps, not over the one that a one-step sampler is shown."""
    expected = run(model, SIZE, sampler=host(name, options), sigmas=SIGMAS)
    assert torch.equal(run(model, SIZE, sampler=blended(name, NEVER, options), sigmas=SIGMAS), expected)
    assert not torch.equal(run(model, SIZE, sampler=host(name), sigmas=SIGMAS), expected)


@pytest.mark.parametrize(
    ("name", "reference"),
    [("euler", "euler"), ("dpmpp_2m", "dpmpp_2m"), ("euler_ancestral", "euler_ancestral"), ("ddim", "euler")],
)
def test_inpainting_is_the_hosts(model, run, name, reference):
    """Also for ddim, but with the start's ε under the mask: the host's other noise there would be another reference."""
    mask = torch.zeros(1, 1, *SIZE)
    mask[..., :4] = 1
    expected = run(model, SIZE, sampler=host(reference), sigmas=SIGMAS, noise_mask=mask)
    assert torch.equal(run(model, SIZE, sampler=blended(name, NEVER), sigmas=SIGMAS, noise_mask=mask), expected)


def test_the_wrapped_sampler_is_not_changed(model, run):
    inner = host("euler_ancestral", {"eta": 0.6})
    expected = run(model, SIZE, sampler=inner, sigmas=SIGMAS)
    run(model, SIZE, sampler=BlendSampler(inner, 2.0), sigmas=SIGMAS)
    assert inner.extra_options == {"eta": 0.6}
    assert torch.equal(run(model, SIZE, sampler=inner, sigmas=SIGMAS), expected)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused_samplers_are_named_with_alternatives(name):
    for refuse in (
        lambda s: require_blendable(s, "FreeScale Cascade", "sampler_name"),
        lambda s: FreeScaleBlendSampler.execute(s, 2.0),
    ):
        with pytest.raises(ValueError) as caught:
            refuse(comfy.samplers.sampler_object(name))
        text = str(caught.value)
        assert text.startswith(("FreeScale Cascade › sampler_name = ", "FreeScale Blend Sampler › sampler = "))
        assert f"= '{name}'" in text
        assert "euler" in text and "dpmpp_2m" in text


def test_foreign_samplers_are_refused():
    class Foreign(comfy.samplers.Sampler):
        pass

    for sampler, name in ((Foreign(), "Foreign"), (blended("euler", 1.0), "BlendSampler")):
        with pytest.raises(ValueError, match=f"node › sampler = '{name}'"):
            require_blendable(sampler, "node", "sampler")


def test_switched_off_noise_is_an_error(model, run):
    with pytest.raises(ValueError, match="the noise is switched off") as caught:
        run(model, SIZE, sampler=blended("euler", 2.0), sigmas=SIGMAS, noise=torch.zeros(1, 4, *SIZE))
    assert "RandomNoise" in str(caught.value)


def test_node_makes_a_blending_sampler(model, run):
    node = FreeScaleBlendSampler.execute(host("euler"), 1.5).args[0]
    assert torch.equal(
        run(model, SIZE, sampler=node, sigmas=SIGMAS), run(model, SIZE, sampler=blended("euler", 1.5), sigmas=SIGMAS)
    )
    for broken in (torch.ones(8, 8), torch.full((1, 8, 8), float("nan"))):
        with pytest.raises(ValueError, match="FreeScale Blend Sampler › detail_map"):
            FreeScaleBlendSampler.execute(host("euler"), 1.5, broken)


@pytest.mark.parametrize("name", ["euler", "dpmpp_2m"])
def test_a_detail_map_acts_where_it_is(model, run, name):
    """Uniform, it is the scalar; with α = 0 on the left and none of it on the right, each half is held or free."""
    scalar = run(model, SIZE, batch=2, sampler=blended(name, 2.0), sigmas=SIGMAS)
    uniform = run(model, SIZE, batch=2, sampler=blended(name, 2.0, detail_map=torch.full((1, 50, 50), 2.0)), sigmas=SIGMAS)
    assert (uniform - scalar).abs().max() <= 1e-5 * scalar.abs().max()  # α is float32 in a map and float64 in a widget

    halves = torch.zeros(1, 64, 64)
    halves[..., 32:] = NEVER
    patched, calls = watched(model)
    noise = torch.randn(1, 4, *SIZE, generator=torch.Generator().manual_seed(3))
    z = model.get_model_object("latent_format").process_in(torch.randn(1, 4, *SIZE, generator=torch.Generator().manual_seed(9)))
    run(patched, SIZE, sampler=blended(name, 1.0, detail_map=halves), sigmas=SIGMAS, noise=noise)
    for sigma, x in calls:
        assert torch.allclose(x[..., :3], (z + sigma * noise)[..., :3], atol=1e-5)
        if sigma < SIGMAS[0]:
            assert not torch.allclose(x[..., 5:], (z + sigma * noise)[..., 5:], atol=1e-2)


def test_maps_go_to_the_pictures_of_a_batch_in_turn(model, run):
    """One map for each picture, repeated when there are fewer maps than pictures."""
    patched, calls = watched(model)
    maps = torch.stack([torch.zeros(16, 16), torch.full((16, 16), NEVER)])
    run(patched, SIZE, batch=3, sampler=blended("euler", 1.0, detail_map=maps), sigmas=SIGMAS)
    latent = torch.randn(3, 4, *SIZE, generator=torch.Generator().manual_seed(9))
    noise = comfy.sample.prepare_noise(latent, 5)
    reference = model.get_model_object("latent_format").process_in(latent) + float(SIGMAS[4]) * noise
    assert [torch.allclose(calls[4][1][i], reference[i], atol=1e-5) for i in range(3)] == [True, False, True]
