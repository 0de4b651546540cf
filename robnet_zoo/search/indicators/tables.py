"""The tables of docs/indicators.md beside the first, from the record of a trial."""

from __future__ import annotations

import json
from pathlib import Path

from robnet_zoo.runtime.tables import markdown_table

COLUMNS = 6  # indicators, the strongest, whose scales named cells are placed on


def predictions_table(record: Path) -> str:
    """Return what predictors come to on cells that their fit did not see."""
    header = ["predictor", "of", "indicators", "tau", "variance explained"]
    found = json.loads(record.read_text(encoding="utf-8"))["predictions"]
    rows = [
        [
            predictor,
            title,
            str(each["indicators"]),
            f"{each['tau']:.3f} [{each['tau_low']:.2f}, {each['tau_high']:.2f}]",
            f"{100 * each['explained']:.0f} %",
        ]
        for title, predictors in found.items()
        for predictor, each in predictors.items()
    ]
    return markdown_table(header, rows, right=header[2:])


def placed_table(record: Path) -> str:
    """Return the percentage of random cells below each named cell, by the strongest indicators."""
    kept = json.loads(record.read_text(encoding="utf-8"))
    taus = {name: each["tau"] for name, each in kept["indicators"].items()}
    placed = kept["placed"]["indicators"]
    chosen = sorted(placed.keys() & taus.keys(), key=lambda name: -abs(taus[name]))[:COLUMNS]
    header = ["cell", *(f"`{name}` ({taus[name]:+.2f})" for name in chosen)]
    rows = [
        [cell, *(f"{100 * placed[name]['below'][number]:.0f}" for name in chosen)]
        for number, cell in enumerate(kept["placed"]["cells"])
    ]
    return markdown_table(header, rows, right=header[1:])
