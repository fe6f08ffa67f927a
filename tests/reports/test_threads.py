"""A model, or parts of it, run in other threads: nothing of a patch hangs on the thread that it was put in by."""

import logging
import threading

import pytest
import torch
from families import FAMILIES, build
from freescale.nodes.host.errors import WarnOnce
from freescale.nodes.host.seam import calls, convolution
from freescale.nodes.host.seam.calls import replaced
from patching import LARGE, every_method


@every_method
def test_parts_of_the_network_may_run_in_other_threads(run, patch):
    """Packs that split a network over devices run its parts in threads of their own: dilation was lost there, silently."""
    model = build(FAMILIES["SDXL"])
    expected, ran = run(patch(model), LARGE), []

    def elsewhere(forward):
        def in_a_thread(*args):
            answer = []

            def work():
                with torch.inference_mode():
                    answer.append(forward(*args))

            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            ran.append(thread)
            return answer[0]

        return in_a_thread

    for layer in model.model.diffusion_model.middle_block:
        layer.forward = elsewhere(layer.forward)
    assert torch.equal(run(patch(model), LARGE), expected) and ran


def test_calls_that_overlap_leave_nothing_behind():
    """ComfyUI#16016: two threads call one model; the first to come is the first to go."""
    module, entered, left = torch.nn.Conv2d(1, 1, 3), threading.Event(), threading.Event()
    own = module._conv_forward.__func__

    def first():
        with replaced(module, "_conv_forward", "first"):
            entered.set()
            left.wait()

    thread = threading.Thread(target=first)
    thread.start()
    entered.wait()
    with replaced(module, "_conv_forward", "second"):
        left.set()
        thread.join()
        assert module._conv_forward == "second"
    assert module._conv_forward.__func__ is own and "_conv_forward" not in vars(module)


def test_calls_that_overlap_leave_compilation_on():
    """Calls with replaced attention run uncompiled; whichever of two threads ends last, torch.compile is as it was."""
    before = torch._dynamo.eval_frame._stance
    first, second = calls._uncompiled(), calls._uncompiled()
    first.__enter__()
    second.__enter__()
    assert torch._dynamo.eval_frame._stance.stance == "force_eager"
    first.__exit__(None, None, None)
    assert torch._dynamo.eval_frame._stance.stance == "force_eager"
    second.__exit__(None, None, None)
    assert torch._dynamo.eval_frame._stance == before


@pytest.mark.parametrize("say", [WarnOnce(), convolution._warn], ids=["of a patch", "of a layer"])
def test_what_two_threads_come_to_at_once_is_said_once(monkeypatch, say):
    """Guidance in two threads comes to the same layer at the same time: the second one speaks while the first does."""
    text, said = "two threads come to this layer", []

    def while_the_first_speaks(record):
        said.append(record.getMessage())
        if len(said) == 1:
            second = threading.Thread(target=say, args=(text,))
            second.start()
            second.join()
        return False

    monkeypatch.setattr(logging.root, "filters", [*logging.root.filters, while_the_first_speaks])
    say(text)
    assert said == [text]
