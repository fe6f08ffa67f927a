"""FreeScale (arXiv 2412.09626) as pure tensor functions: torch, einops and numpy only, no host.

`geometry` how many times a picture exceeds the native one · `windows` where they lie · `attention` and `blur` Scale Fusion ·
`chunks` work in pieces that fit · `dilation` restrained dilated convolution · `noise` how a latent is noised · `schedule` where a
cascade stage restarts and how it is held to its reference · `detail` the detail map · `grammar` the texts that people type ·
`rivals` other methods.
"""
