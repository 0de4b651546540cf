"""Test results put into a weights folder, from the records of its evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robnet_zoo.attacks.naming import is_targeted
from robnet_zoo.attacks.registry import table_order
from robnet_zoo.eval.inputs import RunMetadata, model_info
from robnet_zoo.eval.record import EvaluationRecord, read
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
    weights, record = read_weights(folder), read(path)
    _validate_weights(weights, record, path)
    _validate_terms(weights, record, path)
    results = {
        "n": record.data.n,
        **_rates(record),
        "record": _record_path(path),
        "date": record.created,
    }
    if natural is not None:
        twin = read(natural)
        _validate_twin(record, twin, natural)
        results["natural"] = {**_rates(twin), "record": _record_path(natural)}
    failed = [check.name for check in record.failed_checks]
    if failed:
        results["failed_checks"] = failed
    weights = update_config(folder, results=results)
    write_card(weights)
    return weights


def _rates(record: EvaluationRecord) -> dict[str, dict[str, float]]:
    """Return accuracies as fractions: clean, under each attack from weak to strong, and all."""
    rates = {"clean": _interval(record.clean.accuracy)}
    for attack in sorted(record.attacks, key=lambda attack: table_order(attack.full_name)):
        rates[attack.full_name] = _interval(attack.robust)
        if attack.last is not None:
            rates[attack.full_name]["last"] = attack.last.accuracy
    if len(record.attacks) > 1:
        rates["all attacks"] = _interval(record.totals.robust)
    return rates


def _interval(rate: Proportion) -> dict[str, float]:
    return {"accuracy": rate.accuracy, "low": rate.low, "high": rate.high}


def _validate_weights(weights: Weights, record: EvaluationRecord, path: Path) -> None:
    model = create_model(f"local-dir:{weights.folder}")
    if model_info(model, RunMetadata()).state_sha256 != record.model.state_sha256:
        raise ZooError(
            f"'{path}' judges {record.model.name} with other parameters than those in "
            f"'{weights.folder}'; evaluate it: python -m robnet_zoo.eval --model "
            f"local-dir:{weights.folder}."
        )


def _validate_terms(weights: Weights, record: EvaluationRecord, path: Path) -> None:
    data, judged = record.data, record.threat_model
    given = data.name, data.split, judged.norm, judged.epsilon
    trained = weights.threat_model
    wanted = weights.dataset, "test", trained.get("norm"), trained.get("epsilon")
    if given != wanted:
        raise ZooError(
            f"'{path}' was made on {_terms(*given)}, but {weights.name} is for {_terms(*wanted)}."
        )
    for attack in record.attacks:
        if is_targeted(attack.settings):
            raise ZooError(
                f"'{path}' holds {attack.full_name}, which shows less than robust accuracy; "
                "evaluate without --targeted."
            )


def _terms(dataset: Any, split: Any, norm: Any, epsilon: Any) -> str:
    return f"the {split or 'unnamed'} images of {dataset} under {norm} {epsilon}"


def _validate_twin(record: EvaluationRecord, twin: EvaluationRecord, path: Path) -> None:
    for what, own, other in (
        ("architecture", record.model.architecture, twin.model.architecture),
        ("network", record.model.arguments, twin.model.arguments),
        ("images", record.data.sha256, twin.data.sha256),
        ("threat model", record.threat_model, twin.threat_model),
    ):
        if own != other:
            raise ZooError(
                f"'{path}' is no record to compare with: its {what} ({other}) is not {own}."
            )


def _record_path(path: Path) -> str:
    """Return a record's path in the checkout, or its name where it lies elsewhere."""
    full, root = Path(path).resolve(), ROOT.resolve()
    return full.relative_to(root).as_posix() if full.is_relative_to(root) else full.name
