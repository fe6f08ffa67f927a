"""Every language has every text of the painter, and the painter asks for no other."""

import json
import re

import pytest

import dev

LANGUAGES = ["en", "zh", "ja", "ko", "de", "fr", "es"]
PAINTER = dev.ROOT / "js"


def texts(language: str) -> dict[str, str]:
    return json.loads((dev.ROOT / "locales" / language / "main.json").read_text("utf-8"))["freescalePainter"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_has_every_text(language):
    assert list(texts(language)) == list(texts("en"))
    assert all(text.strip() and "α" in text or "α" not in texts("en")[key] for key, text in texts(language).items())


def test_no_other_language_is_there():
    assert sorted(path.parent.name for path in (dev.ROOT / "locales").glob("*/main.json")) == sorted(LANGUAGES)


def test_the_painter_uses_all_of_them_and_no_other():
    page = (PAINTER / "painter" / "index.html").read_text("utf-8")
    used = set(re.findall(r'data-(?:text|title)="(\w+)"', page))
    for script in (PAINTER / "painter" / "painter.js", PAINTER / "region_detail.js"):
        used |= set(re.findall(r"texts\.(?!js)(\w+)", script.read_text("utf-8")))
    used |= set(re.findall(r'"(paint|paintHint|fetch|fetchHint)"', (PAINTER / "region_detail.js").read_text("utf-8")))
    assert used == set(texts("en"))
