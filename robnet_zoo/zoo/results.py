"""Test results as the Hugging Face Hub's benchmarks collect them, beside the card's model index.

Both state the accuracies of config.json, and only those of which it names the record.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from robnet_zoo.data import dataset_info, list_datasets
from robnet_zoo.runtime.files import write_text
from robnet_zoo.zoo.weights import Weights

if TYPE_CHECKING:
    from huggingface_hub import EvalResultEntry

RESULTS = ".eval_results/robnet_zoo.yaml"
PROJECT = "https://github.com/robnet-zoo/robnet_zoo"
RECORDS = "eval/"  # the folder of the project whose records others can read


def write_results(weights: Weights) -> None:
    """Write the results into a weights folder, or remove those of before if there are none now."""
    path, stated = weights.folder / RESULTS, result_entries(weights)
    if stated:
        from huggingface_hub import eval_result_entries_to_yaml
        from huggingface_hub.utils import yaml_dump

        write_text(path, yaml_dump(eval_result_entries_to_yaml(stated), sort_keys=False))
    else:
        path.unlink(missing_ok=True)


def result_entries(weights: Weights) -> list[EvalResultEntry]:
    """Return an entry for each accuracy; none for a data set that the Hub does not have."""
    from huggingface_hub import EvalResultEntry

    if not (dataset := hub_dataset(weights.dataset)):
        return []
    source = record_address(weights)
    return [
        EvalResultEntry(
            dataset_id=dataset,
            task_id=re.sub(r"[^a-z0-9.]+", "-", metric(weights, name).lower()),
            value=rounded(value),
            date=weights.results.get("date"),
            source_url=source,
            source_name=source and "Verdicts on every image",
            notes=_notes(weights, name, value),
        )
        for name, value in weights.recorded.items()
    ]


def hub_dataset(name: str) -> str:
    """Return a data set's repository on the Hub; "" if none is known."""
    return dataset_info(name).hub if name in list_datasets() else ""


def metric(weights: Weights, name: str) -> str:
    """Name an accuracy: "clean accuracy", or which attack and threat model it is under."""
    threat = weights.threat_model
    if name == "clean":
        return "clean accuracy"
    return f"robust accuracy, {name}, {threat.get('norm')} {threat.get('epsilon')}"


def rounded(value: Any) -> float:
    """Return an accuracy, a fraction, as it is published."""
    return round(value["accuracy"], 4)


def record_address(weights: Weights) -> str | None:
    """Return where others can read the record of the results, if it is one of the project's."""
    record = str(weights.results.get("record", ""))
    return f"{PROJECT}/blob/main/{record}" if record.startswith(RECORDS) else None


def _notes(weights: Weights, name: str, value: Any) -> str:
    count = "" if weights.images is None else f"first {weights.images:,} "
    notes = [f"{count}test images"]
    if "low" in value and "high" in value:
        notes.append(f"95 % interval {100 * value['low']:.1f}-{100 * value['high']:.1f} %")
    if name != "clean":
        notes.append("an image counts if nothing that the attack tried fools the network")
    if weights.failed_checks and name != "clean":
        notes.append(f"failed checks: {', '.join(weights.failed_checks)}")
    if "data_note" in weights.training:
        notes.append(str(weights.training["data_note"]))
    return "; ".join(notes)
