"""How anything gets into a model's call, and is gone after it: the seam between ComfyUI and the methods that use it."""
