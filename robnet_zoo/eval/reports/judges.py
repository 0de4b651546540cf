"""Cheaper attacks beside AutoAttack: the table of docs/trust.md, and files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from robnet_zoo.attacks.registry import heading
from robnet_zoo.eval.record.results import AttackResult, Passes
from robnet_zoo.eval.studies.judges import CHEAP, REFERENCE, Judged, agreement, plots
from robnet_zoo.eval.studies.plots import write_plot
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import write_text
from robnet_zoo.runtime.tables import csv_table, markdown_table

SHOWN = ("cr", "pgd-margin", "pgd100")  # in the table of docs/trust.md
TUNED_ON = ("dsrna_cb.digits", "racl.digits", "robnet_free.digits")  # the settings of cr
HEADER = (
    "data",
    "threat_model",
    "weights",
    "n",
    "attack",
    "robust",
    "autoattack_robust",
    "difference_points",
    "broken_by_autoattack_alone",
    "broken_by_it_alone",
    "forwards",
    "backwards",
    "part_of_autoattack",
)


def write(models: Sequence[Judged], folder: Path) -> list[Path]:
    """Write the table and the plots; return their paths.

    Raises:
        ZooError: no model has both AutoAttack and a cheaper attack.
    """
    if not models:
        raise ZooError(
            f"The records hold no {REFERENCE} beside {', '.join(CHEAP[:-1])} or {CHEAP[-1]} on the "
            "same weights and images; evaluate one model with both."
        )
    path = folder / "judges.csv"
    write_text(path, table(models))
    return [path, *(file for plot in plots(models) for file in write_plot(plot, folder))]


def table(models: Sequence[Judged]) -> str:
    """Return every cheaper attack of every model as CSV; passes are for each image attacked."""
    rows = []
    for model in models:
        record = model.record
        for name in (*CHEAP, REFERENCE):
            if name not in model.results:
                continue
            result, compared = model.results[name], agreement(model, name)
            passes = Passes.over([result], record.clean.accuracy.correct)
            rows.append(
                [
                    record.data.name,
                    record.threat_model.title,
                    record.model.name,
                    record.data.n,
                    name,
                    result.robust.correct,
                    model.reference.robust.correct,
                    f"{compared.points:.2f}",
                    compared.missed,
                    compared.more,
                    f"{passes.forwards:.1f}",
                    f"{passes.backwards:.1f}",
                    f"{compared.cost:.4f}",
                ]
            )
    return csv_table(HEADER, rows)


def summary(models: Sequence[Judged]) -> str:
    """Return the agreement of the attacks that are shown with AutoAttack, as Markdown.

    The sentences are about networks that no setting of an attack was chosen on; the others have
    an asterisk in the table.
    """
    models = [model for model in models if all(name in model.results for name in SHOWN)]
    if not models:
        return "No records yet.\n"
    header = ["weights", "n", heading(REFERENCE)]
    for name in SHOWN:
        header += [f"`{name}`", "missed / more"]
    rows = []
    for model in sorted(models, key=lambda model: -model.reference.robust.accuracy):
        record = model.record
        mark = "*" * _is_tuned_on(model)
        cells = [f"`{record.model.name}`{mark}", f"{record.data.n:,}", _percent(model.reference)]
        for name in SHOWN:
            compared = agreement(model, name)
            cells += [_percent(model.results[name]), f"{compared.missed} / {compared.more}"]
        rows.append(cells)
    held_out = [model for model in models if not _is_tuned_on(model)]
    said = [_sentence(held_out, name) for name in SHOWN] if held_out else []
    return "\n".join([*said, "", markdown_table(header, rows, right=header[1:])])


def _is_tuned_on(model: Judged) -> bool:
    return model.record.model.name in TUNED_ON


def _sentence(models: Sequence[Judged], name: str) -> str:
    compared = [agreement(model, name) for model in models]
    points = [one.points for one in compared]
    return (
        f"- `{name}`: {fmean(points):+.2f} points from AutoAttack on average over "
        f"{len(models)} held-out network{'s' * (len(models) != 1)}, "
        f"{min(points):+.2f} to {max(points):+.2f}, for "
        f"{100 * fmean(one.cost for one in compared):.1f} % of its passes."
    )


def _percent(result: AttackResult) -> str:
    return f"{100 * result.robust.accuracy:.1f}"
