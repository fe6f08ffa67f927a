"""FreeScale (arXiv 2412.09626) as pure tensor functions: torch, einops and numpy only, no host.

`geometry` how far a picture exceeds the model's native size · `attention` Scale Fusion · `dilation` restrained dilated
convolution · `schedule` where a cascade stage restarts and how it is held to its reference · `detail` the detail map ·
`grammar` the texts that people type (blocks, layers, stages) ·
`scalecrafter`, `demofusion`, `fouriscale`, `hidiffusion` the rivals.
"""
