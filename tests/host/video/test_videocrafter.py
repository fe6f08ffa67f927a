"""VideoCrafter2: its own code's predictions by the names of its checkpoint, its noise, and its files."""

import pickle

import comfy.ops
import families
import folder_paths
import numpy as np
import pytest
import torch
from clips import FRAMES, PARITY, PREFIX, SHAPES, draw, narrow_videocrafter
from comfy.ldm.models.autoencoder import AutoencoderKL
from einops import rearrange, repeat
from families import with_dilation, with_scale_fusion
from freescale.freescale_core.dilation import dilated_layers
from freescale.freescale_core.grammar.blocks import parse_blocks
from freescale.freescale_core.noise import SD_SIGMAS, data_scale
from freescale.freescale_core.windows import window_plan
from freescale.nodes.host import videocrafter
from freescale.nodes.host.family import family_of
from freescale.nodes.host.stage.plan import plan_sigmas
from freescale.nodes.host.videocrafter.network import VideoCrafterUNet, host_names
from freescale.nodes.host.videocrafter.sampling import VideoCrafterSampling
from freescale.nodes.video.videocrafter_loader import FreeScaleVideoCrafterLoader
from safetensors import safe_open
from staging import stage


@pytest.fixture(scope="module")
def weights():
    """A checkpoint's U-Net by its own names, narrow."""
    return narrow_videocrafter()


@pytest.fixture(scope="module")
def small(weights):
    """A MODEL of it that every test shares."""
    return videocrafter.load_videocrafter(weights, 28)


@pytest.fixture(scope="module")
def asked():
    """Two prompts for it."""
    return tuple([[families.random(1, 7, 24, seed=seed), {}]] for seed in (1, 2))


# ---------------------------------------------------------------- its network


@pytest.mark.parametrize("case", ["8frames", "16frames"])
def test_predictions_are_its_own_codes(small, case):
    """Two clips of 8 frames, and one of 16 at another timestep and speed."""
    with safe_open(PARITY / f"{case}.safetensors", "pt") as file:
        given = {name: file.get_tensor(name) for name in file.keys()}
    frames = given["x"].shape[2]
    each = {name: repeat(given[name], "b ... -> (b t) ...", t=frames) for name in ("timesteps", "context", "fps")}
    speed = videocrafter.timestep_embedding(each["fps"], 32)
    out = small.model.diffusion_model(
        rearrange(given["x"], "b c t h w -> (b t) c h w"), each["timesteps"], context=each["context"], y=speed,
        num_video_frames=frames, transformer_options=dict(small.model_options["transformer_options"]),
    )  # fmt: skip
    expected = rearrange(given["y"], "b c t h w -> (b t) c h w")
    assert (out - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_every_weight_of_the_released_file_has_its_place():
    """All 1,484 names and shapes, none missing and none left over."""
    given = {name: torch.empty(shape, device="meta") for name, shape in SHAPES.items()}
    structure = videocrafter._structure(given)
    network = VideoCrafterUNet(**structure, device="meta", dtype=torch.float16, operations=comfy.ops.disable_weight_init)
    own, named = network.state_dict(), host_names(given)
    assert len(SHAPES) == len(named) == 1484 and sum(w.numel() for w in named.values()) == 1_413_284_420
    assert {name: w.shape for name, w in own.items()} == {name: w.shape for name, w in named.items()}


def test_layers_are_those_of_sd_2(small):
    """Names, presets and counts are as if nothing was between the frames."""
    family, sd = family_of(small), family_of(families.build(families.FAMILIES["SD 2 base"]))
    assert family.attention_layers() == sd.attention_layers() and list(family.convolutions()) == list(sd.convolutions())
    assert len(family.temporal_blocks()) == 17
    dilated = dilated_layers(family.convolutions(), "FreeScale", parse_blocks("all"))
    assert tuple(layer.name for layer in dilated) == families.LEVELS_4


def test_windows_are_native_clips(small):
    """320 × 512 px: at 640 × 1024 three by three windows of 40 × 64 cells, and nothing to do at its own size."""
    family = family_of(small)
    plan = window_plan(80, 128, family.enlarged(80, 128).ratio)
    assert family.native == (320, 512) and plan.size == (40, 64) and plan.count == 9
    assert family.enlarged(40, 64) is None


def test_a_clip_is_drawn_with_both_patches(small, asked):
    """Every run the same; a frame's neighbours matter, its layers between frames have no patch of ours."""
    size, both = (20, 32), lambda m: with_dilation(with_scale_fusion(m, native_size=128), native_size=128)
    clip = draw(both(small), asked, size)
    assert torch.isfinite(clip).all() and torch.equal(draw(both(small), asked, size), clip)
    pictures = [
        draw(m, asked, size) for m in (small, with_scale_fusion(small, native_size=128), with_dilation(small, native_size=128))
    ]
    assert all(not torch.allclose(clip, other, atol=1e-3) for other in pictures)
    alone = torch.cat([draw(both(small), asked, size, [n]) for n in range(FRAMES)])
    assert not torch.allclose(alone, clip, atol=1e-2)


def test_nobodys_patches_reach_its_layers_between_frames(small, asked):
    """They are called by no name, with Scale Fusion as without."""

    def rows(patched):
        seen = set()
        observed = patched.clone()
        observed.set_model_attn1_patch(lambda q, k, v, extra: (seen.add(q.shape[0]), (q, k, v))[1])
        draw(observed, asked, (20, 32), cfg=1.0)
        return seen

    assert rows(with_scale_fusion(small, native_size=128)) == rows(small) == {FRAMES}


def test_the_speed_is_part_of_what_is_asked(small, weights, asked):
    assert not torch.allclose(
        draw(videocrafter.load_videocrafter(weights, 8), asked, (8, 8)), draw(small, asked, (8, 8)), atol=1e-3
    )


# ---------------------------------------------------------------- its noise


def epsilon(x):
    """Any network: what it predicts depends on its input."""
    return torch.sin(3 * x) + 0.2 * x.roll(1, -1)


def test_euler_on_its_noise_is_its_ddim():
    """x_t = √ᾱ s z + √(1 − ᾱ) ε, eta 0, 50 steps t = 981 … 1, in float64; on SD's noise it would be another clip."""
    alphas, scales = 1 / (1 + torch.from_numpy(SD_SIGMAS) ** 2), torch.from_numpy(data_scale(np.arange(1000)))
    assert scales[[0, 399, 999]].tolist() == pytest.approx([1, 0.7, 0.7])
    times = [*range(981, 0, -20)]
    x = start = families.random(1, 4, 8, 8).double()
    for t, following in zip(times, [*times[1:], None]):
        e = epsilon(x)
        z = (x - (1 - alphas[t]).sqrt() * e) / alphas[t].sqrt() / scales[t]
        x = z if following is None else alphas[following].sqrt() * scales[following] * z + (1 - alphas[following]).sqrt() * e

    def euler(sigmas, scales):
        y = start / alphas[981].sqrt() / scales[981]
        for t, following in zip(times, [*times[1:], None]):
            e = epsilon(alphas[t].sqrt() * scales[t] * y)
            y = y + ((0 if following is None else sigmas[following]) - sigmas[t]) * e
        return y

    plain = torch.from_numpy(SD_SIGMAS)
    assert (euler(plain / scales, scales) - x).abs().max() <= 1e-10 * x.abs().max()
    assert (euler(plain, torch.ones(1000)) - x).abs().mean() > 0.05


def test_the_networks_input_is_scaled_by_s():
    """√ᾱ s y at each timestep and, between two, by the s between theirs."""
    sampling, y = VideoCrafterSampling(), families.random(1000, 1, 1, 1).abs() + 0.1
    alphas, scales = 1 / (1 + torch.from_numpy(SD_SIGMAS) ** 2), torch.from_numpy(data_scale(np.arange(1000)))
    expected = (alphas.sqrt() * scales).float().reshape(-1, 1, 1, 1)
    assert torch.allclose(sampling.calculate_input(sampling.sigmas, y) / y, expected, rtol=1e-5)
    between = (sampling.sigmas[199:200] * sampling.sigmas[200:201]).sqrt()
    assert torch.allclose(sampling.calculate_input(between, y[:1]) / y[:1], expected[199:201].mean(), rtol=1e-3)
    assert sampling.percent_to_sigma(0.7) == pytest.approx(1.0739, abs=1e-3)


def test_the_papers_schedule_is_exact(small):
    """50 ddim_uniform steps at denoise 0.7: 35 calls from t = 681, of which 20 are dilated."""
    sigmas = plan_sigmas("node", small, stage(640, 1024, steps=50))
    noise = family_of(small).noise
    times = [noise.timestep(float(sigma)) for sigma in sigmas[:-1]]
    assert times == pytest.approx([*range(681, 0, -20)], abs=1e-2)
    assert sum(float(sigma) >= noise.sigma(0.7) for sigma in sigmas[:-1]) == 20


# ---------------------------------------------------------------- its file


def refusal(weights):
    with pytest.raises(ValueError) as caught:
        videocrafter.load_videocrafter(weights, 28)
    return str(caught.value)


def test_other_files_are_refused_by_what_is_missing(weights):
    sd = {name: w for name, w in weights.items() if "temopral" not in name and "init_attn" not in name and "fps" not in name}
    assert "lacks init_attn.0.proj_in.weight, fps_embedding.0.weight" in refusal(sd)
    middle = PREFIX + "middle_block.2.transformer_blocks.0.attn1.to_q.weight"
    assert "lacks middle_block.3.transformer_blocks.0.attn1.to_q.weight" in refusal(
        {n: w for n, w in weights.items() if n != middle}
    )
    assert "has also image_proj.weight" in refusal({**weights, PREFIX + "image_proj.weight": torch.zeros(1)})
    assert "has other sizes of out.2.weight" in refusal({**weights, PREFIX + "out.2.weight": torch.zeros(8, 32, 3, 3)})
    assert all("Choose VideoCrafter2's model.ckpt" in refusal(given) for given in ({}, sd))


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """saved(what): a file in the checkpoints folder, and its name."""
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "checkpoints", ([str(tmp_path)], {".ckpt"}))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})

    def save(what):
        torch.save(what, tmp_path / "model.ckpt")
        return "model.ckpt"

    return save


@pytest.mark.parametrize("missing", ["cond_stage_model.model", "first_stage_model"])
def test_a_file_without_a_part_is_refused_when_it_is_chosen(weights, saved, missing):
    parts = {f"{part}.x": torch.zeros(1) for part in ("cond_stage_model.model", "first_stage_model") if part != missing}
    name = saved({"state_dict": {**weights, **parts}})
    with pytest.raises(ValueError, match=rf"FreeScale VideoCrafter Loader › ckpt_name = 'model.ckpt': it has no .*\({missing}"):
        FreeScaleVideoCrafterLoader.execute(ckpt_name=name, fps=28)


def text_encoder():
    """OpenCLIP's, as wide as it is."""
    layer = {
        "ln_1.weight": (1024,), "ln_1.bias": (1024,), "ln_2.weight": (1024,), "ln_2.bias": (1024,), "attn.in_proj_weight": (3072, 1024),
        "attn.in_proj_bias": (3072,), "attn.out_proj.weight": (1024, 1024), "attn.out_proj.bias": (1024,), "mlp.c_fc.weight": (4096, 1024),
        "mlp.c_fc.bias": (4096,), "mlp.c_proj.weight": (1024, 4096), "mlp.c_proj.bias": (1024,),
    }  # fmt: skip
    shapes = {f"transformer.resblocks.{n}.{name}": shape for n in range(24) for name, shape in layer.items()} | {
        "positional_embedding": (77, 1024), "token_embedding.weight": (49408, 1024), "ln_final.weight": (1024,), "ln_final.bias": (1024,),
        "text_projection": (1024, 1024), "logit_scale": (),
    }  # fmt: skip
    return {f"cond_stage_model.model.{name}": torch.full((), 0.01).expand(shape) for name, shape in shapes.items()}


def autoencoder():
    """SD's."""
    config = dict(
        double_z=True, z_channels=4, resolution=256, in_channels=3, out_ch=3, ch=128, ch_mult=[1, 2, 4, 4], num_res_blocks=2,
        attn_resolutions=[], dropout=0.0,
    )  # fmt: skip
    with torch.device("meta"):
        shapes = {name: weight.shape for name, weight in AutoencoderKL(ddconfig=config, embed_dim=4).state_dict().items()}
    return {f"first_stage_model.{name}": torch.full((), 0.01).expand(shape) for name, shape in shapes.items()}


def test_a_whole_file_is_a_model_with_its_text_encoder_and_vae(weights, saved):
    texts = text_encoder()
    name = saved({"state_dict": {**weights, **texts, **autoencoder()}, "epoch": 1})
    model, clip, vae = FreeScaleVideoCrafterLoader.execute(ckpt_name=name, fps=8).args
    prompt = clip.encode_from_tokens_scheduled(clip.tokenize("a character on a meadow"))
    assert prompt[0][0].shape == (1, 77, 1024) and torch.isfinite(prompt[0][0]).all()
    assert vae.decode(torch.zeros(2, 4, 8, 8)).shape == (2, 64, 64, 3) and vae.latent_channels == 4
    assert type(model.model.latent_format).__name__ == "SD15" and model.model.fps == 8
    for patcher in (model, vae.patcher):  # for another device; older hosts do not ask
        make, given = getattr(patcher, "cached_patcher_init", (patcher.clone, ()))
        other = make(*given).model.state_dict()
        assert all(torch.equal(weight, other[key]) for key, weight in patcher.model.state_dict().items())
    texts.pop("cond_stage_model.model.transformer.resblocks.22.ln_1.bias")
    name = saved({"state_dict": {**weights, **texts, **autoencoder()}})
    with pytest.raises(ValueError, match="its text encoder lacks .*encoder.layers.22.layer_norm1.bias. Choose"):
        FreeScaleVideoCrafterLoader.execute(ckpt_name=name, fps=8)


class Intruder:
    """What a pickled file could hold."""

    def __reduce__(self):
        return print, ("ran code of a file",)


def test_no_code_of_a_file_is_run(weights, saved, capsys):
    with pytest.raises(pickle.UnpicklingError):
        FreeScaleVideoCrafterLoader.execute(ckpt_name=saved({"state_dict": weights, "more": Intruder()}), fps=28)
    assert "ran code" not in capsys.readouterr().out
    with pytest.raises(ValueError, match="ckpt_name = '../model.ckpt': it is not one of"):
        FreeScaleVideoCrafterLoader.execute(ckpt_name="../model.ckpt", fps=28)
