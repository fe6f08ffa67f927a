"""What is read out of a prompt."""

from tools.prompts import saved_images


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
