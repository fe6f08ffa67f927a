"""The tools: what mouse, pen and finger draw, and how fast."""

import json

import numpy as np
from freescale.nodes.region.painting import parse_painting
from painter import FRAME, PICTURE, VALUE, Painter, drawn
from PIL import Image


def test_every_tool_makes_its_shape(region):
    painter = Painter(region)
    painter.drag((0.2, 0.2), (0.4, 0.2))
    painter.choose("Eraser")
    painter.drag((0.3, 0.1), (0.3, 0.3))
    painter.choose("Lasso")
    painter.drag((0.5, 0.5), (0.7, 0.5), (0.6, 0.8))
    painter.choose("Rectangle")
    painter.drag((0.9, 0.9), (0.8, 0.7))
    painter.choose("Ellipse")
    painter.drag((0.1, 0.7), (0.3, 0.9))
    shapes = painter.shapes
    assert [shape["kind"] for shape in shapes] == ["stroke", "stroke", "lasso", "rectangle", "ellipse"]
    assert [shape["detail"] for shape in shapes] == [3, None, 3, 3, 3]
    assert len(shapes[0]["points"]) == 4 and len(shapes[2]["points"]) <= 10  # straight lines keep their ends only
    assert np.allclose(np.array(shapes[3]["points"]), [9000, 9000, -1000, -2000], atol=30)
    alpha = drawn(region.evaluate(VALUE), 200, 200)
    assert alpha[40, 44] > 2.5 and alpha[40, 60] < 0.6  # erased there
    painter.choose("Fill")
    painter.drag((0.5, 0.5))
    assert painter.shapes == [{"kind": "fill", "detail": 3}]  # it hides all the others
    painter.press("x")
    assert painter.shapes[1:] == [{"kind": "invert"}]
    painter.press("x")
    assert len(painter.shapes) == 1
    painter.done()


def test_a_pen_draws_with_its_pressure(region):
    painter = Painter(region)
    devtools = region.context.new_cdp_session(region)

    def pen(kind, x, y, force):
        x, y = painter.at(x, y)
        devtools.send("Input.dispatchMouseEvent", {
            "type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "force": force, "pointerType": "pen", "clickCount": 1,
        })  # fmt: skip

    pen("mousePressed", 0.2, 0.5, 0.2)
    for i in range(1, 7):
        pen("mouseMoved", 0.2 + 0.1 * i, 0.5, 0.2 + 0.1 * i)
    pen("mouseReleased", 0.8, 0.5, 0.8)
    [stroke] = painter.shapes
    assert stroke["pressure"] and stroke["points"][2] == 20 and stroke["points"][-1] == 80
    painter.done()


def test_whatever_is_drawn_can_be_read_again(region):
    """A straight lasso, one click of it, and drags far outside of the picture."""
    painter = Painter(region)
    painter.choose("Lasso")
    painter.drag((0.2, 0.5), (0.8, 0.5))
    painter.drag((0.5, 0.5))
    assert painter.shapes == []
    for _ in range(8):
        painter.page.get_by_label("Zoom out").click()
    painter.choose("Rectangle")
    box = painter.page.locator("#stage").bounding_box()
    region.mouse.move(box["x"] + 5, box["y"] + 5)
    region.mouse.down()
    region.mouse.move(box["x"] + box["width"] - 5, box["y"] + box["height"] - 5, steps=4)
    region.mouse.up()
    painter.choose("Brush")
    painter.drag((-1.2, -1.2), (2.2, 2.2))
    assert len(parse_painting(region.evaluate(VALUE)).shapes) == 2
    painter.done()


FRAMES = """async ([from, to]) => {
    const stage = document.querySelector('#stage'), times = []
    const send = (type, x, y) => stage.dispatchEvent(new PointerEvent(type, {
        pointerId: 7, clientX: x, clientY: y, button: 0, buttons: 1, isPrimary: true, bubbles: true }))
    stage.setPointerCapture = () => {}
    send('pointerdown', ...from)
    let last = performance.now()
    for (let i = 1; i <= 180; i++) {
        send('pointermove', from[0] + (to[0] - from[0]) * i / 180, from[1] + 40 * Math.sin(i / 9))
        await new Promise(requestAnimationFrame)
        const now = performance.now()
        times.push(now - last)
        last = now
    }
    send('pointerup', ...to)
    return times.sort((a, b) => a - b)
}"""


def test_frame_times_on_a_large_picture(client, server, artifacts):
    """Three seconds of 60 moves a second over 4096²: how long a frame takes is reported, not asserted."""
    Image.effect_noise((4096, 4096), 40).convert("RGB").save(server.workdir / "input" / "large.png", compress_level=1)
    client.evaluate(
        """() => {
            app.graph.clear()
            const load = LiteGraph.createNode('LoadImage'), regions = LiteGraph.createNode('RegionDetailMask')
            app.graph.add(load); app.graph.add(regions)
            load.widgets.find(w => w.name === 'image').value = 'large.png'
            load.connect(0, regions, 'image')
        }"""
    )
    client.wait_for_function(f"() => ({PICTURE})() === 4096", timeout=30_000)
    painter = Painter(client)
    painter.slide("size", 0.06)
    box = painter.page.locator("#stage").bounding_box()
    (x0, y0), (x1, y1) = painter.at(0.1, 0.5), painter.at(0.9, 0.5)
    frame = client.locator(FRAME).bounding_box()
    places = [[x0 - frame["x"], y0 - frame["y"]], [x1 - frame["x"], y1 - frame["y"]]]
    times = painter.frame.evaluate(FRAMES, places)
    report = {"median": times[90], "95 %": times[171], "longest": times[-1], "stage": [box["width"], box["height"]]}
    (artifacts / f"frame_times{'_nodes2' if client.nodes_2 else ''}.json").write_text(json.dumps(report))
    print("frame times, ms:", {name: round(value, 1) for name, value in report.items() if name != "stage"})
    assert len(painter.shapes) == 1
    painter.done()
