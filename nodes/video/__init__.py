"""Video models that ComfyUI has no loader for."""
