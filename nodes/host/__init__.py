"""The only code that touches ComfyUI: what a model is, its hooks, samplers, pictures and progress."""
