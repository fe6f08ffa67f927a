"""Without a mouse: all by keys, and every control with a name."""

import json
import re

from painter import VALUE, Painter


def test_by_keyboard_alone(region):
    painter = Painter(region)
    painter.press("r", "Enter", *["Shift+ArrowRight"] * 2, *["Shift+ArrowDown"] * 3, "Enter")
    painter.press("b", "2", "]", "}", "Enter", *["ArrowLeft"] * 9, "Enter")
    rectangle, stroke = painter.shapes
    assert rectangle == {"kind": "rectangle", "detail": 3, "points": [5000, 5000, 2000, 3000]}
    assert stroke["detail"] == 0.25 and stroke["hardness"] == 0.55 and stroke["radius"] == 660
    assert stroke["points"] == [7000, 8000, -900, 0]
    painter.press("Enter", "ArrowLeft", "Escape")  # the first Escape drops what is being drawn
    assert len(painter.shapes) == 2
    painter.press("Escape")
    region.wait_for_function("!document.querySelector('.freescale-painter')")
    assert len(json.loads(region.evaluate(VALUE))["shapes"]) == 2


def test_every_control_has_a_name(region):
    painter = Painter(region)
    tree = painter.frame.locator("body").aria_snapshot()
    unnamed = [
        line for line in tree.splitlines() if re.fullmatch(r"\s*- (button|slider|radio|application|img)( \[.*\])?:?", line)
    ]
    assert not unnamed, unnamed
    names = {
        "radio": ["Brush", "Eraser", "Lasso", "Rectangle", "Ellipse", "Fill"], "slider": ["Detail", "Brush size", "Hardness", "Overlay"],
        "button": ["Undo", "Redo", "Invert", "Clear", "Zoom in", "Zoom out", "Fit", "Discard changes", "Done", "Protect face"],
    }  # fmt: skip
    for role, wanted in names.items():
        for name in wanted:
            assert painter.page.get_by_role(role, name=name).count() == 1, (role, name)
    painter.done()
