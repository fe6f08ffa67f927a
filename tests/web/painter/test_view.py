"""Zoom and pan."""

import pytest
from painter import Painter


def test_zoom_and_pan_keep_what_is_under_the_pointer(region):
    painter = Painter(region)
    x, y = painter.at(0.25, 0.25)
    region.mouse.move(x, y)
    region.mouse.wheel(0, -400)
    assert painter.at(0.25, 0.25) == pytest.approx((x, y), abs=1)
    region.mouse.down(button="middle")
    region.mouse.move(x + 80, y + 40, steps=3)
    region.mouse.up(button="middle")
    assert painter.at(0.25, 0.25) == pytest.approx((x + 80, y + 40), abs=1)
    assert painter.shapes == []
    painter.done()


def test_two_fingers_move_the_picture_and_one_draws(region):
    painter = Painter(region)
    devtools = region.context.new_cdp_session(region)
    before = painter.page.locator("#sheet").bounding_box()

    def touch(kind, *places):
        points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(places)]
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    (x0, y0), (x1, y1) = painter.at(0.4, 0.5), painter.at(0.6, 0.5)
    touch("touchStart", (x0, y0))
    touch("touchStart", (x0, y0), (x1, y1))
    for i in range(1, 6):
        touch("touchMove", (x0 - 20 * i, y0), (x1 + 20 * i, y1))
    touch("touchEnd")
    after = painter.page.locator("#sheet").bounding_box()
    assert after["width"] / before["width"] == pytest.approx((x1 - x0 + 200) / (x1 - x0), rel=0.05)  # pinched, not painted
    assert painter.shapes == []
    painter.page.get_by_role("button", name="Fit").click()
    touch("touchStart", painter.at(0.2, 0.2))
    touch("touchMove", painter.at(0.4, 0.2))
    touch("touchEnd")
    assert len(painter.shapes) == 1
    painter.done()
