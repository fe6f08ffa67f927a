"""What every cell of the matrix runs: real ComfyUI models under our patches, drawn by a cascade's stage."""

import logging
import os
from collections.abc import Callable

import families
import folder_paths
import pytest
import torch
from dits import Kind, maker
from families import Family, Graph
from freescale.nodes.demo.demo_model import FreeScaleDemoModel
from freescale.nodes.host.stage.plan import Stage
from freescale.nodes.host.stage.run import run_stage

from tools.folders import ROOT

SETTINGS = dict(
    seed=3, steps=3, cfg=2.0, sampler_name="euler", scheduler="ddim_uniform", denoise=0.7, detail=2.0, resize_in="latent", vae_tiling="auto"
)  # fmt: skip
FLOW = dict(steps=9, scheduler="simple", denoise=0.75)  # four steps


@pytest.fixture(autouse=True)
def inference_mode():
    """As the host runs every node."""
    with torch.inference_mode():
        yield


@pytest.fixture(scope="session", autouse=True)
def loras(tmp_path_factory):
    """A models folder of our own."""
    folder_paths.add_model_folder_path("loras", str(tmp_path_factory.mktemp("loras")), is_default=True)


@pytest.fixture(scope="session")
def vaes():
    """By the channels of latents: the demo model's, as any four will do here, and a random one of 16."""
    structure = dict(ch=32, ch_mult=[1, 1, 1, 1], num_res_blocks=1, in_channels=3, out_ch=3, z_channels=16, resolution=256)
    structure |= dict(attn_resolutions=[], double_z=True, dropout=0.0)
    return {
        4: FreeScaleDemoModel.execute("no", 0.1, "portrait").args[3],
        16: families.vae(structure, torch.float32),
    }


_graphs: dict[str, Graph] = {}
_pictures: dict[tuple[str, str], torch.Tensor] = {}


@pytest.fixture
def graph():
    """graph(family): built once and shared, so that whatever a test leaves behind fails another."""

    def shared(family: Family | Kind) -> Graph:
        if family.name not in _graphs:
            _graphs[family.name] = maker(family).graph(family)
        return _graphs[family.name]

    return shared


@pytest.fixture
def draw(vaes, caplog):
    """draw(graph, height, width, …) → the latent that a cascade's stage makes of it."""

    def sample(g, height=256, width=256, **changed) -> torch.Tensor:
        flow = {} if isinstance(g.family, Family) else FLOW
        stage = Stage(height=height, width=width, **{**SETTINGS, **flow, **changed})
        vae = vaes[g.latent["samples"].shape[1]]
        _, latent = run_stage("FreeScale Cascade", g.model, g.positive, g.negative, vae, stage, g.latent, None)
        assert latent["samples"].shape[-2:] == (height // 8, width // 8) and torch.isfinite(latent["samples"]).all()
        return latent["samples"]

    caplog.set_level(logging.WARNING)
    return sample


@pytest.fixture
def alone(draw):
    """alone(graph, wire): what one set of patches draws, kept for all rows; it must never change."""

    def kept(g: Graph, wire: Callable[[Graph], Graph]) -> torch.Tensor:
        key = (g.family.name, wire.__name__)
        if key not in _pictures:
            _pictures[key] = draw(wire(g))
        return _pictures[key]

    return kept


PAGE = ROOT / "docs" / "compatibility.md"
FIRST, LAST = "<!-- matrix -->", "<!-- /matrix -->"
_tables: dict[str, dict[str, dict[str, str]]] = {}


@pytest.fixture
def publish():
    """publish(table, row, column, cell): what this run found must be what the page says (or will say, when it is written)."""

    def cell(table: str, row: str, column: str, text: str, note: str = "") -> None:
        cells = _tables.setdefault(table, {}).setdefault(row, {})
        cells[column] = text
        if note:
            cells["Note"] = note
        if not os.environ.get("FREESCALE_MATRIX"):
            published = _published().get(table, {}).get(row, {})
            assert {name: published.get(name) for name in cells} == cells, (
                "docs/compatibility.md is old: run python dev.py matrix"
            )

    return cell


def _published() -> dict[str, dict[str, dict[str, str]]]:
    """The tables of the page as `_tables` has them."""
    tables, title, columns = {}, "", []
    for line in PAGE.read_text("utf-8").partition(FIRST)[2].partition(LAST)[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and not columns:
            title, *columns = cells
        elif line.startswith("|") and not line.startswith("|-"):
            tables.setdefault(title, {})[cells[0]] = {name: cell for name, cell in zip(columns, cells[1:]) if cell}
        elif not line.startswith("|"):
            columns = []
    return tables


def pytest_sessionfinish(session, exitstatus):
    """If all of a run passed, write what it found into the page; of a partial run only the cells that it drew."""
    extent = os.environ.get("FREESCALE_MATRIX")
    if not extent or exitstatus or not _tables:
        return
    lines, tables = [], {title: _tables[title] for title in (*_published(), *_tables) if title in _tables}  # in their old order
    if extent == "part":
        tables = _published()
        for title, rows in _tables.items():
            for row, cells in rows.items():
                tables.setdefault(title, {}).setdefault(row, {}).update(cells)
    for title, rows in tables.items():
        columns = list(dict.fromkeys(name for cells in rows.values() for name in sorted(cells, key="Note".__eq__)))
        columns.sort(key="Note".__eq__)
        lines += ["", f"| {title} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
        lines += [f"| {row} | {' | '.join(cells.get(name, '') for name in columns)} |" for row, cells in rows.items()]
    text = PAGE.read_text("utf-8")
    before, after = text.partition(FIRST)[0], text.partition(LAST)[2]
    PAGE.write_text(before + FIRST + "\n".join(lines) + "\n\n" + LAST + after, "utf-8")
