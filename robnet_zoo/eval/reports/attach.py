"""Test results put into a weights folder, from the records of its evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robnet_zoo.eval import record
from robnet_zoo.eval.inputs import RunMetadata, model_info
from robnet_zoo.eval.record import EvaluationRecord
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.statistics import Proportion
from robnet_zoo.zoo import create_model
from robnet_zoo.zoo.card import write_card
from robnet_zoo.zoo.weights import ROOT, Weights, read_weights, update_config


def attach(folder: Path, path: Path, natural: Path | None = None) -> Weights:
    """Fill `results` of a folder's config.json from a record, and write its card anew.

    Args:
        folder: the weights folder.
        path: the record of an evaluation of these very weights.
        natural: the record of the same network, trained without adversarial images, on the same
            images and threat model.

    Raises:
        ZooError: a record that cannot be read, is of other weights, data or another threat
            model than the folder's, or holds a targeted attack.
    """
    weights, report = read_weights(folder), record.read(path)
    _refuse_other_weights(weights, report, path)
    _refuse_other_terms(weights, report, path)
    results = {"n": report.data.n, **_rates(report), "record": _place(path)}
    if natural is not None:
        twin = record.read(natural)
        _refuse_no_twin(report, twin, natural)
        results["natural"] = {**_rates(twin), "record": _place(natural)}
    failed = [check.name for check in report.checks if not check.passed]
    if failed:
        results["failed_checks"] = failed
    weights = update_config(folder, results=results)
    write_card(weights)
    return weights


def _rates(report: EvaluationRecord) -> dict[str, dict[str, float]]:
    """Return accuracies as fractions: clean, under each attack, and under all where several."""
    found = {"clean": _interval(report.clean.accuracy)}
    for attack in report.attacks:
        found[attack.name] = _interval(attack.robust)
        if attack.last is not None:
            found[attack.name]["last"] = attack.last.accuracy
    if len(report.attacks) > 1:
        found["all attacks"] = _interval(report.totals.robust)
    return found


def _interval(found: Proportion) -> dict[str, float]:
    return {"accuracy": found.accuracy, "low": found.low, "high": found.high}


def _refuse_other_weights(weights: Weights, report: EvaluationRecord, path: Path) -> None:
    model = create_model(f"local-dir:{weights.folder}")
    if model_info(model, RunMetadata()).state_sha256 != report.model.state_sha256:
        raise ZooError(
            f"'{path}' judges {report.model.name} with other parameters than those in "
            f"'{weights.folder}'; evaluate it: python -m robnet_zoo.eval --model "
            f"local-dir:{weights.folder}."
        )


def _refuse_other_terms(weights: Weights, report: EvaluationRecord, path: Path) -> None:
    threat = weights.threat_model
    wanted = weights.dataset, "test", threat.get("norm"), threat.get("epsilon")
    data, found = report.data, report.threat_model
    given = data.name, data.split, found.norm, found.epsilon
    if given != wanted:
        raise ZooError(
            f"'{path}' was made on {_terms(*given)}, but {weights.name} is for {_terms(*wanted)}."
        )
    for attack in report.attacks:
        if attack.settings.get("targeted"):
            raise ZooError(
                f"'{path}' holds a targeted {attack.name}, which shows less than robust accuracy; "
                "evaluate without --targeted."
            )


def _terms(dataset: Any, split: Any, norm: Any, epsilon: Any) -> str:
    return f"the {split or 'unnamed'} images of {dataset} under {norm} {epsilon}"


def _refuse_no_twin(report: EvaluationRecord, twin: EvaluationRecord, path: Path) -> None:
    for what, own, other in (
        ("architecture", report.model.architecture, twin.model.architecture),
        ("network", report.model.arguments, twin.model.arguments),
        ("images", report.data.sha256, twin.data.sha256),
        ("threat model", report.threat_model, twin.threat_model),
    ):
        if own != other:
            raise ZooError(
                f"'{path}' is no record to compare with: its {what} ({other}) is not {own}."
            )


def _place(path: Path) -> str:
    """Return a record's path in the checkout, or its name where it lies elsewhere."""
    full, root = Path(path).resolve(), ROOT.resolve()
    return full.relative_to(root).as_posix() if full.is_relative_to(root) else full.name
