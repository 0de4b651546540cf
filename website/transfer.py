"""The transfer matrix: who is fooled by images that were made on whom."""

from __future__ import annotations

import csv
from pathlib import Path

from robnet_zoo.runtime.tables import markdown_table
from website.checkout import FIGURES

PAGE = "transfer.md"
NAME = "transfer-digits"


def transfer() -> dict[str, str | Path]:
    """Return the page and its picture."""
    table, picture = FIGURES / f"{NAME}.csv", FIGURES / f"{NAME}.png"
    with table.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    text = f"""# Transfer between networks

Accuracy in percent of the network in the column on images that were made on the network in the
row. The diagonal is the white-box attack. Where a network is weaker off the diagonal than on it,
its own gradients mislead the attack, and its white-box number is too kind.

![Transfer matrix](files/{picture.name})

{markdown_table([header[0] or "made on", *header[1:]], rows, right=header[1:])}
The same as [CSV](files/{table.name}); [docs](studies.md) say how it is made.
"""
    return {PAGE: text, f"files/{picture.name}": picture, f"files/{table.name}": table}
