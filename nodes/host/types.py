"""Socket types of our own."""

from comfy_api.latest import io

# float [B, H, W] like a MASK, but holding α: a type of its own, so that the two cannot be confused.
DetailMap = io.Custom("FREESCALE_DETAIL_MAP")
StagePictures = io.Custom("FREESCALE_STAGE_PICTURES")
SamplingTime = io.Custom("FREESCALE_TIME")
