"""Starts ComfyUI-Manager, as a newer ComfyUI does itself."""

import comfyui_manager

comfyui_manager.start()
NODE_CLASS_MAPPINGS = {}
