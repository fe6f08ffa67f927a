"""The only code that touches ComfyUI's internals; of the rest of it, nodes use the public API to declare themselves."""
