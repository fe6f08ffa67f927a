"""What is read out of a prompt."""

import pytest

from tools.prompts import saved_images, upstream


def test_pictures_come_in_the_order_of_the_stages(tmp_path):
    prompt = {
        "8": {"inputs": {"x": ["1", 0]}},
        "3": {"inputs": {"x": ["2", 0]}},
        "2": {"inputs": {"x": ["1", 0], "n": 4}},
        "1": {"inputs": {}},
    }
    image = {"subfolder": "", "type": "output"}
    outputs = {
        "3": {"images": [{**image, "filename": "second.png"}, {**image, "filename": "third.png"}]},
        "8": {"images": [{**image, "filename": "first.png"}, {**image, "filename": "no.png", "type": "temp"}]},
    }
    names = [path.name for path in saved_images(outputs, prompt, tmp_path)]
    assert names == ["first.png", "second.png", "third.png"]


class Counted(dict):
    """A prompt that knows how often each of its nodes was looked at."""

    def __getitem__(self, node):
        self.seen = [*getattr(self, "seen", ()), node]
        return super().__getitem__(node)


@pytest.mark.parametrize("diamonds", [1, 28, 2000])
def test_every_node_of_many_diamonds_is_looked_at_once(diamonds):
    """Node n has two arms to node n − 1: as many ways lead down as 2 to the power of the diamonds."""
    prompt = Counted({"0": {"inputs": {}}})
    for n in range(1, diamonds + 1):
        prompt |= {f"{n}{arm}": {"inputs": {"x": [str(n - 1), 0]}} for arm in "ab"}
        prompt[str(n)] = {"inputs": {"x": [f"{n}a", 0], "y": [f"{n}b", 0], "z": 1.5}}
    assert upstream(prompt, str(diamonds)) == {*prompt} - {str(diamonds)}
    assert sorted(prompt.seen) == sorted(prompt)
