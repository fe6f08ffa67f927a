"""Shape of the demo model and the encoding of its conditions; shared by training and by the node that loads it."""

from math import pi

import torch

NATIVE = 256  # px
FRAMES = 8  # of the clips that its motion layers are trained on
NETWORKS = U_NET, FLUX = ("U-Net", "transformer")
FRAMINGS = ("portrait", "close-up", "backdrop")

# SDXL's block numbers, narrower and with shallower transformers. The VAE is ComfyUI's TAESD: no normalisation, so a
# large picture decodes exactly as its parts do.
UNET: dict = dict(
    image_size=32,
    in_channels=4,
    out_channels=4,
    model_channels=64,
    num_res_blocks=[2, 2, 2],
    channel_mult=[1, 1, 1],
    transformer_depth=[0, 0, 1, 1, 3, 3],
    transformer_depth_output=[0, 0, 0, 1, 1, 1, 3, 3, 3],
    transformer_depth_middle=3,
    num_heads=-1,
    num_head_channels=32,
    context_dim=32,
    adm_in_channels=16 + 6 * 256,
    num_classes="sequential",
    use_spatial_transformer=True,
    use_linear_in_transformer=True,
    legacy=False,
)

# FLUX's structure with three words of text. What a host's Flux does not ask for is left out.
TRANSFORMER: dict = dict(
    in_channels=4,
    out_channels=4,
    vec_in_dim=None,
    context_in_dim=32,
    hidden_size=256,
    mlp_ratio=3.0,
    num_heads=4,
    depth=1,
    depth_single_blocks=6,
    axes_dim=[8, 28, 28],
    txt_ids_dims=[],
    theta=10000,
    patch_size=2,
    qkv_bias=True,
    guidance_embed=False,
)


def encode_conditions(hat: bool | None, hue: float | None, framing: str | None) -> tuple[torch.Tensor, torch.Tensor]:
    """The model's prompt as cross-attention tokens [3, 32] and a pooled vector [16]; None leaves a property open."""
    features = torch.zeros(3, 12)
    if hat is not None:
        features[0, 0] = 1.0 if hat else -1.0
    if hue is not None:
        angles = 2 * pi * hue * torch.tensor([1.0, 2.0, 3.0])
        features[1, 1:7] = torch.cat([angles.cos(), angles.sin()])
    if framing is not None:
        features[2, 7 + FRAMINGS.index(framing)] = 1.0
    tokens = torch.cat([features, torch.eye(3), torch.zeros(3, 17)], dim=1)
    pooled = torch.cat([features.sum(0), torch.zeros(4)])
    return tokens, pooled
