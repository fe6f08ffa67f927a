"""What an environment is made of, and how that names it."""

import pytest

from tools import recipe
from tools.console import Trouble
from tools.environment import prepare

TINY = recipe.Recipe("any", "tinyhost --hash=sha256:0", ("tinytool",))


def test_every_ingredient_changes_the_key():
    others = [TINY._replace(python="other"), TINY._replace(host="other"), TINY._replace(packages=())]
    assert len({each.key for each in [TINY, *others]}) == 4
    assert recipe.Recipe(*TINY).key == TINY.key


def test_recipe_of_a_checkout_follows_its_requirements(tmp_path):
    (tmp_path / "requirements.txt").write_text("aiohttp\n")
    first = recipe.default_recipe(tmp_path)
    (tmp_path / "requirements.txt").write_text("aiohttp\nav\n")
    assert len({recipe.default_recipe(None).key, first.key, recipe.default_recipe(tmp_path).key}) == 3


def test_a_version_from_pypi_is_another_environment(monkeypatch, cache):
    usual = recipe.default_recipe(None)
    for version, wheel in recipe.HOST_WHEELS.items():
        monkeypatch.setenv("COMFYUI_VERSION", version)
        assert recipe.default_recipe(None) == usual._replace(host=wheel)
    assert len(set(recipe.HOST_WHEELS.values())) == len(recipe.HOST_WHEELS) > 1


def test_an_unknown_version_is_answered_with_the_known_ones(monkeypatch, cache):
    monkeypatch.setenv("COMFYUI_VERSION", "0.1")
    with pytest.raises(Trouble, match=r"0\.1, .* 0\.3\.75 and 0\.3\.52\. .*COMFYUI_PATH"):
        prepare()


def test_torch_is_left_to_the_pins_but_its_namesakes_are_not():
    text = "torch\ntorchsde\ntorchvision>=0.2\ntorchaudio ; python_version<'4'\n# note\n\nnumpy>=1 # fast\ntorch-fidelity"
    assert recipe.requirement_lines(text) == ["torchsde", "numpy>=1", "torch-fidelity"]
