"""Tables and contact sheets of what tools/quality measured."""

from collections import Counter
from pathlib import Path

import numpy as np
from features import excess_kid
from figures import bootstrap, wilson
from PIL import Image, ImageDraw, ImageFont

SHOWN, THUMBNAIL, MARGIN, FONT = 6, 160, 4, 15  # seeds and px of a contact sheet
SHARES = {
    "one_character": "one character",
    "repeated_parts": "repeated parts",
    "off_colour": "off colour",
    "ghosts": "ghosts",
}
VALUES = {  # and how it is written
    "kid": ("KID", ".2f"),
    "kid_crops": ("KID_c", ".2f"),
    "detail_db": ("detail, dB", "+.1f"),
    "texture": ("texture", ".2f"),
    "grass": ("grass", ".2f"),
    "seams": ("seams", ".1f"),
    "fidelity_db": ("fidelity, dB", ".1f"),
    "seconds": ("seconds", ".1f"),
}


def summary(rows: list[dict], truths: list[dict], reference: list[tuple]) -> dict:
    """A method's figures with 95 % intervals [low, high]: shares by Wilson's score, medians by bootstrap.

    `truths` has the true drawings of all seeds, `reference` features of others, whole and in crops, for KID with its jackknife.
    """
    true = np.mean([10 * np.log10(row["detail_energy"]) for row in truths])
    shares = {
        "one_character": sum(row["parts"] == (2, 1) for row in rows),
        "repeated_parts": sum(row["parts"][0] > 2 or row["parts"][1] > 1 for row in rows),
    }
    values = {name: [row[name] for row in rows if row.get(name) is not None] for name in (*SHARES, *VALUES)}
    values["detail_db"] = [10 * np.log10(row["detail_energy"]) - true for row in rows]
    by_seed = {row["seed"]: row for row in truths}
    same_seeds = [by_seed[row["seed"]] for row in rows]
    distances = {
        name: excess_kid(*([row[part] for row in found] for found in (rows, same_seeds)), others)
        for (name, part), others in zip({"kid": "whole", "kid_crops": "crops"}.items(), zip(*reference))
    }
    return {
        "pictures": len(rows),
        **{name: {"value": number / len(rows), "interval": wilson(number, len(rows))} for name, number in shares.items()},
        **{
            name: {"value": float(np.median(numbers)), "interval": bootstrap(numbers)}
            for name, numbers in values.items()
            if numbers
        },
        **{name: figure for name, figure in distances.items() if figure},
        "drawn_at": dict(Counter(row["commit"] for row in rows if row["commit"])),
    }


def title(network: str, side: int, native: int, steps: int, cfg: float) -> str:
    return f"{network}, {side}², {side // native}× the demo model's native size; {steps} steps, cfg {cfg:g}"


def table(rows: dict[str, dict]) -> str:
    """Markdown: value and interval of each method, in the columns that any of them has."""

    def cell(figure: dict | None, pattern: str, unit: str = "", scale: float = 1) -> str:
        if figure is None:
            return ""
        value, low, high = (scale * x for x in (figure["value"], *figure["interval"]))
        if low == high:  # of one picture, or of equal ones
            return f"{value:{pattern}}{unit}"
        return f"{value:{pattern}}{unit} ({low:{pattern}} … {high:{pattern}})"

    shares, values = ([name for name in names if any(name in row for row in rows.values())] for names in (SHARES, VALUES))
    columns = ["pictures", *map(SHARES.get, shares), *(VALUES[name][0] for name in values)]
    lines = [f"| | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for name, row in rows.items():
        cells = [cell(row.get(share), ".0f", " %", 100) for share in shares]
        cells += [cell(row.get(figure), VALUES[figure][1]) for figure in values]
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


def write_page(page: Path, network: str, figures: dict, pictures: dict, settings: tuple) -> None:
    """Replace what stands between the page's markers of a network; a sheet of each size lies in the folder `images` beside it."""
    text, sections = page.read_text("utf-8"), []
    for side, rows in figures.items():
        picture = page.parent / "images" / f"{page.stem}_{network.lower()}_{side}.jpg"
        contact_sheet(pictures[side]).save(picture, quality=85)
        sections += [
            f"### {title(network, side, *settings)}",
            table(rows),
            f"![Seeds 0 to 5 of every method](images/{picture.name})",
        ]
    first, last = f"<!-- {network} -->", f"<!-- /{network} -->"
    before, _, after = text.partition(first)
    page.write_text(f"{before}{first}\n\n" + "\n\n".join(sections) + f"\n\n{last}{after.partition(last)[2]}", "utf-8")
