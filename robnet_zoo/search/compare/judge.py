"""Cells trained under one recipe, attacked alike and certified, each in a folder of its own.

A folder holds a cell's training run, its weights and the records of its evaluation; what is there
is not done again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robnet_zoo.data import load_split
from robnet_zoo.eval import EvaluationRecord, RunMetadata, evaluate, get_attack
from robnet_zoo.eval.studies import certificate
from robnet_zoo.eval.studies.certificate import Certificate
from robnet_zoo.eval.studies.certify import certify
from robnet_zoo.eval.target import EvalTarget
from robnet_zoo.genotypes import genotype_to_dict
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import write_json
from robnet_zoo.search.compare.table import CERTIFICATE, EVALUATION, JudgedCell, write_comparison
from robnet_zoo.search.run.asked import keep_asked
from robnet_zoo.threat_models import Norm
from robnet_zoo.train.export import export
from robnet_zoo.train.session import RECORD, train
from robnet_zoo.train.settings import SETTINGS, Settings
from robnet_zoo.zoo.blueprints import blueprint
from robnet_zoo.zoo.load import load
from robnet_zoo.zoo.weights import read_weights

ASKED, RUN = "asked.json", "run"  # a cell's settings, and its training


@dataclass(frozen=True)
class Comparison:
    """How cells are judged.

    Attributes:
        folder: where everything goes.
        attacks: names of attacks.
        n: the first so many test images are attacked; None for all.
        certified: the first so many test images are certified; None for no certificates.
        norms: of the certified radii, beside the threat model's.
        seed: of the attacks' randomness.
        device: where the work is done.
        root: folder of the data sets; None for the usual ones.
    """

    folder: Path
    attacks: Sequence[str]
    n: int | None
    certified: int | None
    seed: int
    device: str
    root: Path | None = None
    norms: tuple[Norm, ...] = ()


def compare(cells: Sequence[Settings], comparison: Comparison) -> None:
    """Train, attack and certify every cell, and write tables, charts and comparison.json.

    Args:
        cells: settings of their trainings, which differ in the model alone.
        comparison: how they are judged.

    Raises:
        Stopped: the process was asked to stop and has saved its work.
        ZooError: an unknown cell or attack, two cells of a name, or other settings in a folder.
    """
    named: dict[str, Settings] = {}
    for settings in cells:
        name = cell_name(settings)
        if name in named:
            raise ZooError(f"Two cells are named '{name}'; change the name in one of their files.")
        named[name] = settings
    for attack in comparison.attacks:
        get_attack(attack)  # an unknown one is refused before any training
    folders = {name: comparison.folder / name for name in named}
    for name, settings in named.items():
        _keep(folders[name] / ASKED, settings)
    trained = {
        name: _train(folders[name], settings, comparison) for name, settings in named.items()
    }
    judged = {}
    for name, settings in named.items():
        target = _target(folders[name], settings, comparison)
        record = _attack(folders[name], target, comparison)
        certified = _certify(folders[name], target, comparison)
        judged[name] = JudgedCell(record, certified, trained[name])
    write_comparison(comparison.folder, judged, comparison.device)


def cell_name(settings: Settings) -> str:
    """Return what the tables call a cell; a wrong one is refused here, before any work."""
    design = blueprint(settings.model, **settings.model_arguments())
    if settings.model.startswith("cells:") and design.genotype is not None:
        return design.genotype.name.replace("/", "-")
    return settings.model


def _keep(path: Path, settings: Settings) -> None:
    """Write down what was asked of a cell, or hold it against what was asked before.

    Raises:
        ZooError: the folder holds the same cell under other settings.
    """
    genotype = blueprint(settings.model).genotype
    asked = {
        "genotype": genotype and genotype_to_dict(genotype)["cells"],
        "settings": {**settings.as_dict(), "model": None},
    }
    keep_asked(
        path,
        asked,
        f"'{path.parent}' holds this cell under another genotype or other settings; choose "
        "another --out.",
    )


def _train(folder: Path, settings: Settings, comparison: Comparison) -> dict[str, Any]:
    """Train a cell as far as it is not trained yet, export it, and return the run's record."""
    run, weights = folder / RUN, _weights(folder, settings)
    if not weights.exists():
        if not (run / RECORD).exists():
            started = (run / SETTINGS).exists()
            print(f"training {folder.name}", file=sys.stderr)
            train(settings, run, device=comparison.device, root=comparison.root, resume=started)
        export(run, weights)
    return json.loads((run / RECORD).read_text(encoding="utf-8"))


def _weights(folder: Path, settings: Settings) -> Path:
    data = settings.dataset if ":" not in settings.dataset else "arrays"
    return folder / f"{folder.name}.{data}"


def _target(folder: Path, settings: Settings, comparison: Comparison) -> EvalTarget:
    """Return a trained cell with the test images and the threat model to judge it by."""
    weights = read_weights(_weights(folder, settings))
    dataset, split = load_split(
        settings.dataset, "test", root=comparison.root, threat_model=settings.threat_model
    )
    return EvalTarget(
        model=load(weights).to(comparison.device),
        dataset=dataset,
        split=split,
        threat_model=settings.threat(dataset.threat_model),
        metadata=RunMetadata.of_weights(weights, dataset, "test"),
    )


def _attack(folder: Path, target: EvalTarget, comparison: Comparison) -> EvaluationRecord:
    """Attack a trained cell on the test images, or read the record of before."""
    if not (folder / EVALUATION).exists():
        print(f"attacking {folder.name}", file=sys.stderr)
    return evaluate(
        target.model,
        target.split,
        comparison.attacks,
        target.threat_model,
        n=comparison.n,
        seed=comparison.seed,
        out=folder / EVALUATION,
        resume=True,
        metadata=target.metadata,
    )


def _certify(folder: Path, target: EvalTarget, comparison: Comparison) -> Certificate | None:
    """Certify a trained cell on the first test images, or read the certificate of before."""
    n, path = comparison.certified, folder / CERTIFICATE
    if n is None:
        return None
    norms = {target.threat_model.norm, *comparison.norms}
    if path.exists():
        before = certificate.read(path)
        if before.data.n == n and norms <= before.radii.keys():
            return before
    print(f"certifying {folder.name}", file=sys.stderr)
    certified = certify(
        target,
        n=n,
        norms=sorted(norms),
        seed=comparison.seed,
        out=path,
        resume=True,
        quiet=False,
    )
    write_json(path, certified.to_dict())
    return certified
