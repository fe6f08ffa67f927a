"""What a stage changes in the prompts' conditioning."""


def pin_size(conditioning: list, native: tuple[int, int]) -> list:
    """SDXL's size conditioning at the native picture, where the prompt does not set it: ComfyUI would take the target's."""
    height, width = native
    return [[tokens, {"width": width, "height": height, **values}] for tokens, values in conditioning]
