"""Tables and contact sheets of what tests/quality measured."""

from collections import Counter
from pathlib import Path

import numpy as np
from figures import bootstrap, wilson
from PIL import Image, ImageDraw, ImageFont

SHOWN, THUMBNAIL, MARGIN, FONT = 6, 160, 4, 15  # seeds and px of a contact sheet
COLUMNS = ("one character", "parts too many", "detail, dB", "texture", "fidelity, dB", "seconds")


def summary(rows: list[dict], truths: list[dict]) -> dict:
    """A method's figures with 95 % intervals [low, high]: shares by Wilson's score, medians by bootstrap."""
    true = np.mean([10 * np.log10(row["detail_energy"]) for row in truths])
    single = sum((row["pupils"], row["mouths"]) == (2, 1) for row in rows)
    values = {
        "parts_too_many": ([max(row["pupils"] - 2, 0) + max(row["mouths"] - 1, 0) for row in rows], np.mean),
        "detail_db": ([10 * np.log10(row["detail_energy"]) - true for row in rows], np.median),
        "texture": ([row["texture"] for row in rows], np.median),
        "fidelity_db": ([row["fidelity_db"] for row in rows], np.median),
        "seconds": ([row["seconds"] for row in rows], np.median),
    }
    return {
        "pictures": len(rows),
        "one_character": {"value": single / len(rows), "interval": wilson(single, len(rows))},
        **{
            name: {"value": float(statistic(numbers)), "interval": bootstrap(numbers, statistic)}
            for name, (numbers, statistic) in values.items()
            if None not in numbers
        },
        "drawn_at": dict(Counter(row["commit"] for row in rows if row["commit"])),
    }


def title(side: int, native: int, steps: int, cfg: float) -> str:
    return f"{side}², {side // native}× the demo model's native size; {steps} steps, cfg {cfg:g}"


def table(rows: dict[str, dict]) -> str:
    """Markdown: value and interval of each method."""

    def cell(figure: dict | None, pattern: str, scale: float = 1) -> str:
        if figure is None:
            return ""
        value, low, high = (scale * x for x in (figure["value"], *figure["interval"]))
        return f"{value:{pattern}} ({low:{pattern}} … {high:{pattern}})"

    lines = [f"| | pictures | {' | '.join(COLUMNS)} |", "|---" * (2 + len(COLUMNS)) + "|"]
    for name, row in rows.items():
        cells = [cell(row["one_character"], ".0f", 100).replace("(", "% (")]
        patterns = (
            (".1f", "parts_too_many"),
            ("+.1f", "detail_db"),
            (".2f", "texture"),
            (".1f", "fidelity_db"),
            (".1f", "seconds"),
        )
        cells += [cell(row.get(figure), pattern) for pattern, figure in patterns]
        lines.append(f"| {name} | {row['pictures']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def contact_sheet(methods: dict[str, list[Path]]) -> Image.Image:
    """A row of the first seeds' pictures for each method, with its name above."""
    height = THUMBNAIL + FONT + 2 * MARGIN
    sheet = Image.new("RGB", (SHOWN * (THUMBNAIL + MARGIN) + MARGIN, len(methods) * height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT)
    for row, (name, paths) in enumerate(methods.items()):
        pen.text((MARGIN, row * height + 2), name, "black", font)
        for column, path in enumerate(paths[:SHOWN]):
            picture = Image.open(path).resize((THUMBNAIL,) * 2, Image.Resampling.LANCZOS)
            sheet.paste(picture, (MARGIN + column * (THUMBNAIL + MARGIN), row * height + FONT + MARGIN))
    return sheet


def write_page(page: Path, figures: dict, found: dict, settings: tuple) -> None:
    """Replace what stands between the page's markers; a sheet of each size lies in the folder `images` beside it."""
    text, sections = page.read_text("utf-8"), []
    for side, rows in figures.items():
        picture = page.parent / "images" / f"{page.stem}_{side}.jpg"
        drawn = {name: [p.path for p in ps] for name, ps in found[side].items() if ps[0].path.exists()}
        contact_sheet(drawn).save(picture, quality=85)
        sections += [f"## {title(side, *settings)}", table(rows), f"![Seeds 0 to 5 of every method](images/{picture.name})"]
    first, last = "<!-- figures -->", "<!-- /figures -->"
    before, _, after = text.partition(first)
    page.write_text(f"{before}{first}\n\n" + "\n\n".join(sections) + f"\n\n{last}{after.partition(last)[2]}", "utf-8")
