"""The comparer's answer: files of every picture in the temp folder, at full size, and nothing elsewhere."""

import numpy as np
from PIL import Image


def picture(width: int, height: int, batch: int, color: int) -> dict:
    return {"class_type": "EmptyImage", "inputs": {"width": width, "height": height, "batch_size": batch, "color": color}}


def test_every_picture_is_in_temp_and_nowhere_else(comfy):
    folder = comfy.server.workdir
    before = {path for path in folder.rglob("*") if path.suffix == ".png"}
    prompt = {
        "a": picture(96, 64, 1, 0xFF8000),
        "b": picture(2304, 1536, 3, 0x0080FF),  # beyond the side to which the painter's backdrop is cut
        "compare": {"class_type": "FreeScaleCompare", "inputs": {"image_a": ["a", 0], "image_b": ["b", 0]}},
    }
    run = comfy.run(prompt)
    assert run.ending == "execution_success"
    assert list(run.outputs["compare"]) == ["freescale_a", "freescale_b"]  # `images` would be shown twice
    shown = set()
    for key, size, colour, count in (
        ("freescale_a", (96, 64), (255, 128, 0), 1),
        ("freescale_b", (2304, 1536), (0, 128, 255), 3),
    ):
        files = run.outputs["compare"][key]
        assert len(files) == count
        for file in files:
            assert (file["type"], file["subfolder"]) == ("temp", "")
            path = folder / "temp" / file["filename"]
            with Image.open(path) as image:
                assert image.size == size
                assert np.array_equal(np.asarray(image)[0, 0], colour)
            shown.add(path)
    assert {path for path in folder.rglob("*") if path.suffix == ".png"} - before == shown
