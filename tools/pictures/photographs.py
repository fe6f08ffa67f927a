"""Photographs of ComfyUI's editor after a run."""

from io import BytesIO

from editor import show
from PIL import Image

MARGIN, WIDTH = 24, 1600  # px
ARRIVE = """outputs => {
    for (const [node, output] of Object.entries(outputs).filter(([node]) => app.graph.getNodeById(node)))
        app.api.dispatchCustomEvent('executed', { node, display_node: node, prompt_id: '', output })
}"""
# The box, in px of the page, around the nodes of these types (around everything if there are none), however the renderer draws it.
BOX = """types => {
    const view = app.canvas.ds, canvas = app.canvas.canvas.getBoundingClientRect()
    const place = (x, y, w, h) => [canvas.left + (x + view.offset[0]) * view.scale, canvas.top + (y + view.offset[1]) * view.scale,
                                   canvas.left + (x + w + view.offset[0]) * view.scale, canvas.top + (y + h + view.offset[1]) * view.scale]
    const nodes = app.graph._nodes.filter(n => !types.length || types.includes(n.type))
    const boxes = nodes.map(n => {
        const element = document.querySelector(`[data-node-id="${n.id}"]`), b = element?.getBoundingClientRect()
        return b ? [b.left, b.top, b.right, b.bottom] : place(n.pos[0], n.pos[1] - 30, n.size[0], 30 + (n.flags.collapsed ? 0 : n.size[1]))
    })
    if (!types.length) boxes.push(...app.graph._groups.map(g => place(...g.pos, ...g.size)))
    return [0, 1, 2, 3].map(i => Math[i < 2 ? 'min' : 'max'](...boxes.map(b => b[i])))
}"""
# The whole graph on the canvas, below the menus.
FIT_VIEW = """() => {
    const boxes = [...app.graph._nodes.map(n => [n.pos[0], n.pos[1] - 30, n.pos[0] + n.size[0], n.pos[1] + n.size[1]]),
                   ...app.graph._groups.map(g => [g.pos[0], g.pos[1], g.pos[0] + g.size[0], g.pos[1] + g.size[1]])]
    const [x0, y0, x1, y1] = [0, 1, 2, 3].map(i => Math[i < 2 ? 'min' : 'max'](...boxes.map(b => b[i])))
    const view = app.canvas.ds, canvas = app.canvas.canvas.getBoundingClientRect()
    view.scale = Math.min((canvas.width - 110) / (x1 - x0), (canvas.height - 210) / (y1 - y0), 1)
    view.offset[0] = 80 / view.scale - x0
    view.offset[1] = 190 / view.scale - y0
    app.canvas.setDirty(true, true)
}"""
LOADED = """() => [...document.images].every(i => i.complete) &&
    app.graph._nodes.every(n => (n.imgs ?? []).every(i => i.naturalWidth))"""


def photograph(client, graph: dict, outputs: dict, types: tuple[str, ...] = ()) -> Image.Image:
    """A graph, or its nodes of some types, in the editor after its run."""
    show(client, graph)
    client.evaluate(ARRIVE, outputs)
    places = [(*node["pos"], *node["size"]) for node in graph["nodes"]] + [group["bounding"] for group in graph["groups"]]
    left, top = (min(place[axis] for place in places) for axis in (0, 1))
    right, bottom = (max(place[axis] + place[axis + 2] for place in places) for axis in (0, 1))
    client.set_viewport_size({"width": int(right - left) + 240, "height": int(bottom - top) + 320})
    client.wait_for_timeout(500)
    client.evaluate(FIT_VIEW)
    client.wait_for_function(LOADED, timeout=30_000)
    client.wait_for_timeout(1500)  # the pictures are there; until the nodes have grown with them
    left, top, right, bottom = client.evaluate(BOX, list(types))
    around = {"x": left - MARGIN, "y": top - MARGIN, "width": right - left + 2 * MARGIN, "height": bottom - top + 2 * MARGIN}
    picture = screenshot(client, clip=around)
    if picture.width > WIDTH:
        picture = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
    return picture


def painter(client, graph: dict, outputs: dict) -> Image.Image:
    """The painter over the picture of a run."""
    show(client, graph)
    client.evaluate(ARRIVE, outputs)
    client.set_viewport_size({"width": 1240, "height": 820})
    client.evaluate("document.querySelector('.freescale-regions .paint').click()")
    frame = client.frame_locator(".freescale-painter iframe")
    frame.get_by_role("button", name="More detail").click()
    client.mouse.move(900, 600)
    client.wait_for_timeout(1000)
    picture = screenshot(client)
    client.evaluate("document.querySelector('.freescale-painter').close()")
    return picture


def screenshot(client, **options) -> Image.Image:
    return Image.open(BytesIO(client.screenshot(**options))).convert("RGB")
