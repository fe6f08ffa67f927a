"""A cascade's stages with short settings."""

import dits
from freescale.nodes.cascade.cascade import SelfCascadeUpscale
from freescale.nodes.host.family import family_of
from freescale.nodes.host.stage.plan import Stage
from freescale.nodes.host.stage.run import run_stage

SETTINGS = dict(
    seed=3,
    steps=2,
    cfg=2.0,
    sampler_name="euler",
    scheduler="ddim_uniform",
    denoise=0.7,
    detail=2.0,
    resize_in="pixels",
    vae_tiling="auto",
)


def stage(height, width, **changed):
    return Stage(height=height, width=width, **{**SETTINGS, **changed})


def table_of(model):
    """σ of each of the 1000 timesteps."""
    return family_of(model).noise.table


def step(demo, height, width, latent=None, image=None, **changed):
    """(picture, latent) of one stage of the demo model."""
    return run_stage("node", *demo, stage(height, width, **changed), latent, image)


def film_cascade(vae, kind, steps):
    """Its result(stages, …) is IMAGE, LATENT and pictures of the node, with Scale Fusion before it as in the template."""

    def run(stages, kind=kind, **inputs):
        model, words = dits.fusion(dits.build(kind), preset="Fast"), dits.prompt(kind)
        settings = {**SETTINGS, "scheduler": "simple", "denoise": 0.75, "steps": steps}
        inputs = {"model": model, "positive": words, "negative": words, "vae": vae, **settings, **inputs}
        return SelfCascadeUpscale.execute(**inputs, stages=stages).args

    return run
