"""Undo and redo: inside the painter, and of the graph."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from painter import EXTENSION, VALUE, Painter

WAY = """async ([base, moves]) => {
    const { History } = await import(base + '/painter/history.js')
    const history = new History('')
    return moves.map(move => {
        const moved = typeof move === 'number' ? history.travel(move) : history.remember(move) ?? true
        return [history.shapes, history.atFirst, history.atLast, moved]
    })
}"""


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(moves=st.lists(st.integers(-3, 3) | st.sampled_from(["a", "b", "c"]), max_size=20))
def test_history_is_that_of_two_piles(client, moves):
    """What was done and what was undone; a string stands for shapes that are new, a number for steps on or back."""
    done, undone, expected = [""], [], []
    for move in moves:
        if isinstance(move, str):
            done, undone, moved = [*done, move], [], True
        else:
            before = len(done)
            for _ in range(abs(move)):
                if move > 0 and undone:
                    done.append(undone.pop())
                elif move < 0 and done[1:]:
                    undone.append(done.pop())
            moved = len(done) != before
        expected.append([done[-1], len(done) == 1, not undone, moved])
    assert client.evaluate(WAY, [client.evaluate(EXTENSION), moves]) == expected


def test_undo_is_exact_and_stays_inside_the_painter(region):
    nodes = region.evaluate("app.graph._nodes.length")
    painter = Painter(region)
    texts = [region.evaluate(VALUE)]
    for y in (0.2, 0.5, 0.8):
        painter.drag((0.2, y), (0.8, y))
        texts.append(region.evaluate(VALUE))
    assert len(set(texts)) == 4
    for text in texts[2::-1]:
        painter.press("Control+z")
        assert region.evaluate(VALUE) == text
    for text in texts[1:]:
        painter.press("Control+Shift+z")
        assert region.evaluate(VALUE) == text
    painter.page.get_by_role("button", name="Clear").click()
    assert region.evaluate(VALUE) == ""
    painter.press("Control+z", "Delete", "Backspace")
    assert region.evaluate(VALUE) == texts[3] and region.evaluate("app.graph._nodes.length") == nodes
    painter.page.get_by_role("button", name="Discard changes").click()
    region.wait_for_function("!document.querySelector('.freescale-painter')")
    assert region.evaluate(VALUE) == ""


def test_the_graphs_own_undo_takes_a_session_back(region):
    client = region
    client.evaluate(
        "() => { const t = app.extensionManager.workflow.activeWorkflow.changeTracker; (t.captureCanvasState ?? t.checkState).call(t) }"
    )
    painter = Painter(client)
    painter.drag((0.2, 0.2), (0.8, 0.8))
    painter.drag((0.8, 0.2), (0.2, 0.8))
    painter.done()
    assert len(json.loads(client.evaluate(VALUE))["shapes"]) == 2
    client.evaluate("app.extensionManager.workflow.activeWorkflow.changeTracker.undo()")
    client.wait_for_function(f"() => ({VALUE})() === ''")
    client.evaluate("app.extensionManager.workflow.activeWorkflow.changeTracker.redo()")
    client.wait_for_function(f"() => ({VALUE})() !== ''")
