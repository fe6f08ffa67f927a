"""The painter where the editor is another one: as an app, with values on a subgraph's face, behind servers that redirect or forbid frames."""

import io
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from editor import NODES_2, RENDERERS, alone, client_knows, open_client, saved, show
from painter import FRAME, REGIONS, Painter
from PIL import Image

PROMPTED = """async () => Object.values((await app.graphToPrompt()).output).filter(
    n => n.class_type === 'RegionDetailMask').map(n => n.inputs.detail_outside)"""
INNER = "() => app.graph._nodes.find(n => n.subgraph).subgraph._nodes.find(n => n.type === 'RegionDetailMask')"
MODE = "mode => { app.extensionManager.workflow.activeWorkflow.activeMode = mode }"
SETTING = "([name, value]) => app.extensionManager.setting.set(name, value)"


@pytest.fixture
def region(client):
    """One Region Detail; afterwards no painter is open."""
    show(client, alone("RegionDetailMask", pos=[100, 200], size=[500, 600]))
    yield client
    client.evaluate("document.querySelectorAll('.freescale-painter').forEach(dialog => dialog.close())")
    assert client.faults == []


@pytest.fixture(scope="module")
def open_to_others(server, browser):
    """The client without the policy that a server without API nodes sends: it forbids other origins' pictures altogether."""
    page = open_client(server, browser, RENDERERS[0], bypass_csp=True)
    show(page, alone("RegionDetailMask", pos=[100, 200], size=[500, 600]))
    yield page
    page.close()


def told(client) -> tuple[str, str]:
    """What the open painter says: α in the middle of the picture, and what it cannot know."""
    frame = client.frame_locator(FRAME)
    box = frame.locator("#sheet").bounding_box()
    client.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=2)
    client.wait_for_function(
        f"document.querySelector('{FRAME}').contentDocument.querySelector('#cursor').style.visibility === 'visible'"
    )
    return frame.locator("#status").inner_text(), frame.locator("#notice").inner_text()


def paint(client, node: str) -> tuple[str, str]:
    """Open the painter of a node for a look."""
    client.evaluate(f"() => ({node})().freescaleRegions.element.querySelector('.paint').click()")
    client.wait_for_function(f"document.querySelector('{FRAME}')?.contentDocument.querySelector('#sheet')?.style.transform")
    try:
        return told(client)
    finally:
        client.evaluate("document.querySelector('.freescale-painter').close()")


if client_knows("builder-selection-overlay"):  # it can make an app of a workflow

    def test_the_painter_is_an_input_of_an_app(region, artifacts):
        """With Nodes 2.0 off it could not be chosen: the client takes no widget that its properties panel does not show (ComfyUI_frontend#16326)."""
        client = region
        client.evaluate(SETTING, ["Comfy.OnboardingCoachmarks.Seen", ["appMode"]])
        try:
            client.evaluate(MODE, "builder:inputs")
            client.wait_for_function("LiteGraph.vueNodesMode")  # the client switches it on; one can switch it off
            if not client.nodes_2:
                client.evaluate(SETTING, [NODES_2, False])
                client.get_by_test_id("builder-selection-overlay").wait_for()
            chosen = client.get_by_test_id("builder-io-item")
            client.wait_for_function("document.querySelector('.freescale-regions canvas')?.getBoundingClientRect().width > 100")
            box = client.locator(".freescale-regions canvas").bounding_box()
            client.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            chosen.wait_for()
            assert "regions" in chosen.inner_text()

            graph = client.evaluate("() => JSON.parse(JSON.stringify(app.graph.serialize()))")
            [[widget, name, *_]] = graph["extra"]["linearData"]["inputs"]
            assert name == "regions" and widget.endswith(":1:regions")
            graph["extra"]["linearData"]["outputs"] = [1]
            client.evaluate(MODE, "graph")
            show(client, graph)
            client.evaluate(MODE, "app")
            client.get_by_test_id("linear-widgets").locator(".freescale-regions").wait_for()
            client.screenshot(path=artifacts / f"app{'_nodes2' if client.nodes_2 else ''}.png")
            client.locator(".freescale-regions .paint").click(trial=True)
            painter = Painter(client)
            painter.drag((0.2, 0.5), (0.8, 0.5))
            painter.done()
            assert len(painter.shapes) == 1
        finally:
            client.evaluate(MODE, "graph")
            client.evaluate(SETTING, [NODES_2, client.nodes_2])
        node = "[data-node-id='1']" if client.nodes_2 else ".dom-widget"
        client.locator(f"{node} .freescale-regions").wait_for()  # back in its node, and out of the properties panel again
        client.wait_for_function("() => app.graph._nodes[0].widgets[0].options.hideInPanel")
        client.wait_for_function("() => app.graph._nodes[0].widgets[0].visibility.surfaces.panel === 'never'")

    def test_a_template_is_an_app(region, artifacts):
        """Painter, hat, seed, stages and denoise, and the picture with the map. It opens as a graph."""
        client = region
        client.evaluate(SETTING, ["Comfy.OnboardingCoachmarks.Seen", ["appMode"]])
        graph = saved("freescale_region_detail")
        kinds = {node["id"]: node["type"] for node in graph["nodes"]}
        assert [kinds[node] for node in graph["extra"]["linearData"]["outputs"]] == ["SaveImage"]
        show(client, graph)
        widgets = client.get_by_test_id("linear-widgets")
        assert not widgets.count()
        client.evaluate(MODE, "app")
        try:
            widgets.locator(".freescale-regions").wait_for()
            names = ("hat", "seed", "stages", "denoise")
            client.screenshot(path=artifacts / f"app_of_a_template{'_nodes2' if client.nodes_2 else ''}.png")
            text = widgets.inner_text()
            assert all(name in text for name in names), text
        finally:
            client.evaluate(MODE, "graph")


def test_a_value_on_the_face_of_a_subgraph_is_the_one_that_the_painter_shows(region):
    """The server computed with the face's value, the painter showed the one that the node had before (ComfyUI_frontend#14692)."""
    client = region
    client.evaluate(
        """() => {
            const [region] = app.graph._nodes, load = LiteGraph.createNode('LoadImage')
            app.graph.add(load)
            load.widgets.find(w => w.name === 'image').value = 'example.png'
            load.connect(0, region, 'image')
            const { subgraph, node } = app.graph.convertToSubgraph(new Set([region]))
            const inner = subgraph._nodes.find(n => n.type === 'RegionDetailMask')
            const face = subgraph.addInput('detail_outside', 'FLOAT')
            face.connect(inner.inputs.find(i => i.name === 'detail_outside'), inner)
        }"""
    )
    set_face = """([which, value]) => {
        const face = app.graph._nodes.filter(n => n.subgraph)[which].widgets.find(w => w.name === 'detail_outside')
        face.value = value
        face.callback?.(value)
    }"""
    client.evaluate(set_face, [0, 1.25])
    assert client.evaluate(PROMPTED) == [1.25]
    assert paint(client, INNER) == ("Detail here: 1.25", "")
    assert client.evaluate(f"() => ({INNER})().freescaleRegions.backdrop?.naturalWidth") == 256  # from outside, too

    client.evaluate(set_face, [0, 4.5])
    client.mouse.click(2800, 1250)  # whatever one does next
    client.wait_for_function(f"() => ({INNER})().freescaleRegions.drawn[1] === 4.5")

    client.evaluate("() => { app.graph.add(LiteGraph.createNode(app.graph._nodes.find(n => n.subgraph).type)) }")
    client.evaluate(set_face, [1, 7])
    assert sorted(client.evaluate(PROMPTED)) == [4.5, 7]
    alpha, notice = paint(client, INNER)
    assert alpha == "" and "detail_outside" in notice
    client.evaluate(set_face, [1, 4.5])
    assert paint(client, INNER) == ("Detail here: 4.50", "")


def test_a_wired_value_is_read_where_it_can_be_and_else_none_is_shown(region):
    """As above, with a wire in place of the face."""
    client = region
    wire = """([kind, value]) => {
        const region = app.graph._nodes.find(n => n.type === 'RegionDetailMask'), node = LiteGraph.createNode(kind)
        app.graph.add(node)
        node.connect(0, region, region.inputs.findIndex(i => i.name === 'detail_outside'))
        if (value) node.widgets[0].value = value
    }"""
    for kind in ("PrimitiveFloat", "PrimitiveNode"):
        client.evaluate(wire, [kind, 1.25])
        assert client.evaluate(f"() => ({REGIONS})().freescaleRegions.details") == [3, 1.25]
    assert paint(client, REGIONS) == ("Detail here: 1.25", "")
    client.evaluate(wire, ["SamplingPercentToSigma", None])
    alpha, notice = paint(client, REGIONS)
    assert alpha == "" and "detail_outside" in notice
    client.wait_for_function(f"() => ({REGIONS})().freescaleRegions.element.innerText.includes('detail_outside')")


@contextmanager
def elsewhere(**headers):
    """Another origin, that answers everything with a picture."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(file, "PNG")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            for name, value in {"Content-Type": "image/png", **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(file.getvalue())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.parametrize(
    ("headers", "alpha", "lost"),
    [
        ({"Access-Control-Allow-Origin": "*"}, "Detail here: 3.00", []),
        ({}, "", ["mask"]),
        ({"Cross-Origin-Resource-Policy": "same-origin"}, "", ["image", "mask"]),
    ],
    ids=["that allows reading", "that allows showing", "that allows nothing"],
)
def test_pictures_of_another_origin(open_to_others, headers, alpha, lost):
    """`/view` may redirect to a store of files: the pixels of a mask could not be read, and the painter did not open (ComfyUI_frontend#5957)."""
    client = open_to_others
    with elsewhere(**headers) as address:
        moved = {"Location": address, "Access-Control-Allow-Origin": "*"}
        client.route("**/view?*", lambda route: route.fulfill(status=302, headers=moved))
        try:
            file = {"filename": "any.png", "subfolder": "", "type": "temp"}
            output = {"backdrop": [file], "mask": [file]}
            client.evaluate(f"output => ({REGIONS})().freescaleRegions.executed(output)", output)
            said = paint(client, REGIONS)
        finally:
            client.unroute("**/view?*")
    assert client.evaluate(f"() => ({REGIONS})().freescaleRegions.lost") == lost
    assert said[0] == alpha and bool(said[1]) == bool(lost) and ", ".join(lost) in said[1]
    assert client.faults == []


@pytest.mark.parametrize("header", [("X-Frame-Options", "DENY"), ("Content-Security-Policy", "frame-ancestors 'none'")])
def test_a_proxy_that_forbids_frames(region, header):
    """The painter's page had an address that such a proxy answered for, so the dialog was empty (hassio-addons/addon-nginx-proxy-manager#47)."""
    client, (name, value) = region, header

    def forbid(route):
        answer = route.fetch()
        route.fulfill(response=answer, headers={**answer.headers, name: value})

    client.route("**/extensions/**", forbid)
    try:
        assert paint(client, REGIONS) == ("Detail here: 0.50", "")
    finally:
        client.unroute("**/extensions/**")
