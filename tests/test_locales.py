"""Every language has every text of the widgets, and they ask for no other."""

import json
import re

import pytest

import dev

LANGUAGES = ["en", "zh", "ja", "ko", "de", "fr", "es"]
PARTS = ["freescalePainter", "freescaleCompare"]
SCRIPTS = dev.ROOT / "js"


def texts(language: str, part: str) -> dict[str, str]:
    return json.loads((dev.ROOT / "locales" / language / "main.json").read_text("utf-8"))[part]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_has_every_text(language, part):
    english = texts("en", part)
    assert list(texts(language, part)) == list(english)
    assert all(text.strip() and "α" in text or "α" not in english[key] for key, text in texts(language, part).items())


def test_no_other_language_is_there():
    assert sorted(path.parent.name for path in (dev.ROOT / "locales").glob("*/main.json")) == sorted(LANGUAGES)


def test_the_painter_uses_all_of_them_and_no_other():
    page = (SCRIPTS / "painter" / "index.html").read_text("utf-8")
    used = set(re.findall(r'data-(?:text|title)="(\w+)"', page))
    for script in (SCRIPTS / "painter" / "painter.js", SCRIPTS / "region_detail.js"):
        used |= set(re.findall(r"texts\.(?!js)(\w+)", script.read_text("utf-8")))
    used |= set(re.findall(r'"(paint|paintHint|fetch|fetchHint)"', (SCRIPTS / "region_detail.js").read_text("utf-8")))
    assert used == set(texts("en", "freescalePainter"))


def test_the_comparer_uses_all_of_them_and_no_other():
    used = re.findall(r"texts\.(?!js)(\w+)", (SCRIPTS / "compare.js").read_text("utf-8"))
    assert set(used) == set(texts("en", "freescaleCompare"))
