"""The leaderboard: every record of an evaluation as a row of one CSV file."""

from __future__ import annotations

from collections.abc import Mapping

from robnet_zoo.attacks.registry import table_order
from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.runtime.statistics import Proportion
from robnet_zoo.runtime.tables import csv_table

ENDS = ("", "_low", "_high")


def leaderboard(records: Mapping[str, EvaluationRecord]) -> str:
    """Return the leaderboard as CSV: a row for each record, the most robust first.

    Accuracies are fractions, each with the ends of its 95 % interval; those under attacks are
    worst cases over the iterates. An empty field is an attack that was not run.

    Args:
        records: by the names of their files, without ".json".
    """
    attacks = sorted({name for record in records.values() for name in record.attack_names})
    attacks.sort(key=table_order)
    rates = ["clean", *attacks, "all_attacks"]
    header = ["dataset", "threat_model", "n", "model", "genotype", "parameters"]
    header += [f"{rate}{end}" for rate in rates for end in ENDS]
    rows = [
        [
            record.data.name,
            record.threat_model.title,
            record.data.n,
            record.model.name,
            record.model.genotype_status,
            record.model.parameters,
            *(cell for rate in rates for cell in _fractions(accuracy_under(record, rate))),
            "; ".join(check.name for check in record.failed_checks),
            f"results/{name}.json",
        ]
        for name, record in sorted(
            records.items(),
            key=lambda item: (item[1].data.name, -item[1].totals.robust.accuracy, item[0]),
        )
    ]
    return csv_table([*header, "failed_checks", "record"], rows)


def accuracy_under(record: EvaluationRecord, name: str) -> Proportion | None:
    """Return the accuracy under "clean", an attack or "all_attacks"; None if it was not run."""
    if name == "clean":
        return record.clean.accuracy
    if name == "all_attacks":
        return record.totals.robust
    return next((result.robust for result in record.attacks if result.full_name == name), None)


def _fractions(rate: Proportion | None) -> list[str]:
    values = [None] * len(ENDS) if rate is None else [rate.accuracy, rate.low, rate.high]
    return ["" if value is None else f"{value:.4f}" for value in values]
