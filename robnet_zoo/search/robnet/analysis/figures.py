"""The figures of the paper's analysis by name: where each one's numbers come from and go to."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from robnet_zoo.plotting.style import MUTED, canvas, save
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import write_json
from robnet_zoo.search.robnet.analysis import (
    distance_plots,
    distances,
    groups,
    plots,
    relations,
)
from robnet_zoo.search.robnet.analysis.correlation import Findings
from robnet_zoo.search.robnet.table import (
    CANDIDATES,
    STUDY,
    all_tuned,
    read_candidates,
    read_control,
    read_study,
    write_table,
)
from robnet_zoo.search.run.artifacts import RECORD

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEWEST = 10  # architectures that say anything


class Source(NamedTuple):
    """Where architectures come from: whether a folder has them, and what reads them."""

    there: Callable[[Path], bool]
    read: Callable[[Path], Sequence[Any]]


STUDIED = Source(lambda folder: (folder / STUDY).exists(), read_study)
MEASURED = Source(lambda folder: (folder / CANDIDATES).exists(), read_candidates)
CONTROL = Source(all_tuned, read_control)


class FigureKind(NamedTuple):
    """A figure: the paper's number if there is one, its table, drawing, inches and source."""

    paper: str | None
    analyse: Callable[[Sequence[Any]], relations.Analysis]
    draw: Callable[[Figure, relations.Rows, Findings], None]
    size: tuple[float, float] = (5.6, 4.4)
    source: Source = STUDIED


FIGURES = {
    "before-after": FigureKind("3a", relations.before_and_after, plots.draw_before_and_after),
    "histogram": FigureKind("3b", relations.histogram, plots.draw_histogram),
    "tsne": FigureKind("4a", groups.embedding, plots.draw_embedding),
    "weights": FigureKind("4b", groups.edge_weights, plots.draw_edge_weights, (7.2, 4.4)),
    "density": FigureKind("5", relations.densities, plots.draw_densities),
    "convolutions": FigureKind(
        "6a", relations.convolution_counts, plots.draw_convolution_counts, (9.6, 3.8)
    ),
    "budgets": FigureKind("6b", relations.budgets, plots.draw_budgets, (6.2, 4.8)),
    "fsp": FigureKind("7", distances.fsp_gaps, distance_plots.draw_fsp_gaps, (12.0, 4.2), MEASURED),
    "fsp-control": FigureKind(
        None, distances.fsp_control, distance_plots.draw_fsp_control, (14.0, 4.6), CONTROL
    ),
}


def available(folders: Sequence[Path]) -> list[str]:
    """Return the figures whose tables all folders have.

    Raises:
        ZooError: there is none.
    """
    names = [
        name
        for name, kind in FIGURES.items()
        if all(kind.source.there(folder) for folder in folders)
    ]
    if not names:
        raise ZooError(
            f"'{folders[0]}' has neither {STUDY} nor {CANDIDATES}; name the folder of a study or a "
            "cell-free search."
        )
    return names


def scored_on(folders: Sequence[Path]) -> str:
    """Return on which images and under which attack the accuracies of all folders were measured.

    The records of the searches say so, which lie beside their tables.
    """
    found = dict.fromkeys(_scored_on(folder / RECORD) for folder in folders)
    return "; ".join(found)


def _scored_on(path: Path) -> str:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        data, threat = record["dataset"], record["threat_model"]
        return (
            f"{data['name']}, n = {data['held_out_images']:,} held-out images; robust: "
            f"PGD-{record['recipe']['score_steps']}'s last iterate, {threat['norm']} "
            f"{threat['epsilon']}"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return f"images and attack not known: no {RECORD} of the search beside its table"


def make_figure(name: str, folders: Sequence[Path], out: Path) -> Findings:
    """Write NAME.csv, NAME.json and NAME.png into `out` and return the findings.

    Args:
        name: one of `FIGURES`.
        folders: of the study or search; the architectures of several are taken together.
        out: where the files go.

    Raises:
        ZooError: a table is missing or wrong, or has too few complete architectures.
    """
    kind = FIGURES[name]
    architectures = [each for folder in folders for each in kind.source.read(folder)]
    if len(architectures) < FEWEST:
        raise ZooError(
            f"The tables of {' and '.join(map(str, folders))} hold {len(architectures)} complete "
            f"architectures; figure '{name}' needs at least {FEWEST}."
        )
    rows, findings = kind.analyse(architectures)
    write_table(out / f"{name}.csv", rows)
    write_json(out / f"{name}.json", {"figure": kind.paper, **findings})
    with canvas(*kind.size, layout="constrained") as figure:
        kind.draw(figure, rows, findings)
        figure.supxlabel(scored_on(folders), fontsize=8, color=MUTED)
    save(figure, out / f"{name}.png")
    return findings
