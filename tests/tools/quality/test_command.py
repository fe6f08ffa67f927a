"""`python dev.py quality` itself, at the smallest scale: it draws, goes on where it stopped, and writes what it found."""

import json
import subprocess
import sys
from pathlib import Path

from tools.folders import ROOT

PAGE = "# Quality\n\n<!-- U-Net -->\nold\n<!-- /U-Net -->\n\nText below.\n"


def run(folder: Path, *more: str) -> subprocess.CompletedProcess:
    arguments = ["--folder", folder / "kept", "--seeds", "1", "--jobs", "1", *more]
    return subprocess.run([sys.executable, ROOT / "tools" / "quality", *arguments], capture_output=True, text=True, check=False)


def test_it_draws_goes_on_and_reports(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "page.md").write_text(PAGE, "utf-8")
    first = run(tmp_path, "--methods", "HiDiffusion")
    assert first.returncode == 0, first.stderr
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").rglob("*") if path.is_file()}
    assert sorted(str(path.relative_to(tmp_path / "kept")) for path in files) == [
        "U-Net/256/native picture/0.png",
        "U-Net/512/HiDiffusion/0.png",
    ]
    again = run(tmp_path, "--methods", "HiDiffusion", "--json", tmp_path / "all.json", "--page", tmp_path / "page.md")
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in files} == files, "nothing is drawn twice"
    assert again.stdout.strip() == first.stdout.strip()
    figures = json.loads((tmp_path / "all.json").read_text())["sizes"]["512"]
    assert list(figures) == ["HiDiffusion", "true drawing", "native picture, enlarged"]
    assert figures["true drawing"]["one_character"]["value"] == 1
    assert figures["HiDiffusion"]["seconds"]["value"] > figures["native picture, enlarged"]["seconds"]["value"] > 0.1
    assert figures["HiDiffusion"]["detail_db"]["value"] > figures["native picture, enlarged"]["detail_db"]["value"]
    page = (tmp_path / "page.md").read_text("utf-8")
    assert "| HiDiffusion | 1 |" in page and "old" not in page and page.endswith("<!-- /U-Net -->\n\nText below.\n")
    assert (tmp_path / "images" / "page_u-net_512.jpg").exists()


def test_tiles_drawn_again_by_the_transformer_keep_the_picture_and_sharpen_it(tmp_path):
    done = run(tmp_path, "--network", "transformer", "--methods", "tiled re-drawing", "--json", tmp_path / "all.json")
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "all.json").read_text())["sizes"]["512"]
    tiled, enlarged = figures["tiled re-drawing"], figures["native picture, enlarged"]
    assert tiled["fidelity_db"]["value"] > 25 and tiled["off_colour"]["value"] < 0.02
    assert tiled["detail_db"]["value"] > enlarged["detail_db"]["value"] + 6


def test_what_cannot_be_drawn_is_told(tmp_path):
    for more, words in (
        (["--sizes", "300"], "write a multiple of 256"),
        (["--seeds", "0"], "write a number from 1"),
        (["--methods", "strided"], "for the U-Net write any of: FreeScale, "),
    ):
        refused = run(tmp_path, *more)
        assert refused.returncode == 2 and words in refused.stderr
    assert not (tmp_path / "kept").exists()
