"""The painter in the web client: how the tests open it and what they read of it."""

import base64
import json

import numpy as np
import torch
from freescale.nodes.region.painting import paint, parse_painting

FRAME = ".freescale-painter iframe"
REGIONS = """() => app.graph._nodes.find(n => n.type === 'RegionDetailMask')"""
VALUE = f"() => ({REGIONS})().widgets.find(w => w.name === 'regions').value"
PICTURE = f"() => ({REGIONS})().freescaleRegions.backdrop?.naturalWidth"
EXTENSION = """() => [...document.querySelectorAll('link[rel=stylesheet]')].map(l => l.href).find(
    href => href.endsWith('/region_detail.css')).replace('/region_detail.css', '')"""


class Painter:
    """The open painter."""

    def __init__(self, client):
        client.evaluate(f"() => ({REGIONS})().freescaleRegions.element.querySelector('.paint').click()")
        self.client, self.page = client, client.frame_locator(FRAME)
        self.page.locator("#sheet").wait_for()
        client.wait_for_function(f"document.querySelector('{FRAME}').contentDocument.querySelector('#sheet')?.style.transform")
        self.frame = client.locator(FRAME).element_handle().content_frame()
        self.frame.locator("[name=tool][value=brush]").check(force=True)  # tools and sliders are as the last painting left them
        self.slide("detail", 0.6)  # the place of 3 on the scale
        self.slide("size", 0.06)
        self.slide("hardness", 0.5)
        self.frame.locator("#stage").focus()

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The place on the screen of a place on the picture, 0 … 1."""
        box = self.page.locator("#sheet").bounding_box()
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def choose(self, tool: str) -> None:
        self.page.locator("#tools").get_by_text(tool, exact=True).click()

    def preset(self, name: str) -> None:
        self.page.get_by_role("button", name=name).click()

    def drag(self, *places: tuple[float, float], steps: int = 8) -> None:
        """Mouse down at the first place, over the others, up."""
        mouse = self.client.mouse
        mouse.move(*self.at(*places[0]))
        mouse.down()
        for place in places[1:]:
            mouse.move(*self.at(*place), steps=steps)
        mouse.up()

    def slide(self, name: str, value: float) -> None:
        self.page.locator(f"#{name}").evaluate(
            "(input, value) => { input.value = value; input.dispatchEvent(new Event('input')) }", value
        )

    def press(self, *keys: str) -> None:
        for key in keys:
            self.client.keyboard.press(key)

    def done(self) -> None:
        self.page.get_by_role("button", name="Done").click()
        self.client.wait_for_function("!document.querySelector('.freescale-painter')")

    @property
    def shapes(self) -> list[dict]:
        """What the widget holds now."""
        text = self.client.evaluate(VALUE)
        return json.loads(text)["shapes"] if text else []


def alpha_of(client, text: str, width: int, height: int, inside: float = 3, outside: float = 0.5) -> np.ndarray:
    """The map that the editor draws of a painting, [height, width]."""
    encoded = client.evaluate(
        """async ([base, text, width, height, inside, outside]) => {
            const { DetailRaster } = await import(base + '/painter/raster.js')
            const { readPainting } = await import(base + '/painter/painting.js')
            const ground = new Float32Array(width * height).fill(outside)
            const raster = new DetailRaster(width, height, ground, { inside, outside })
            raster.paintAll(readPainting(text).shapes)
            let bytes = ''
            for (const byte of new Uint8Array(raster.shown.buffer)) bytes += String.fromCharCode(byte)
            return btoa(bytes)
        }""",
        [client.evaluate(EXTENSION), text, width, height, inside, outside],
    )
    return np.frombuffer(base64.b64decode(encoded), np.float32).reshape(height, width)


def drawn(text: str, width: int, height: int, inside: float = 3, outside: float = 0.5) -> np.ndarray:
    """The map that the node makes of it."""
    ground = torch.full((1, height, width), float(outside))
    return paint(parse_painting(text), ground, torch.zeros_like(ground), float(inside), float(outside))[0][0].numpy()
