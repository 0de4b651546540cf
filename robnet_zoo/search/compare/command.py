"""`python -m robnet_zoo.search compare`: cells trained under one recipe and attacked alike.

Every cell has a folder in --out with its training run, its weights and the records of its
evaluation; what is there is not done again. Tables, charts and comparison.json are of the cells
that were named.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robnet_zoo.genotypes import genotype_to_dict
from robnet_zoo.runtime.environment import pick_device
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import write_json
from robnet_zoo.runtime.options import read_pairs
from robnet_zoo.search.compare.certificates import CERTIFICATE
from robnet_zoo.search.compare.comparison import EVALUATION, PAGE, Judged, write_comparison
from robnet_zoo.train.recipes import get_recipe, override
from robnet_zoo.train.settings import Settings
from robnet_zoo.zoo.blueprints import blueprint

if TYPE_CHECKING:
    from robnet_zoo.eval import EvaluationRecord
    from robnet_zoo.eval.studies.certificate import Certificate
    from robnet_zoo.eval.target import EvalTarget

ASKED, RUN = "asked.json", "run"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add = parser.add_argument
    add("cells", nargs="+", metavar="CELL", help="racl, pc_darts, ... or cells:FILE.json")
    add("--out", type=Path, required=True, help="folder; cells that are done there are kept")
    add("--dataset", default="digits", help="digits (default), cifar10, ..., arrays:FILE.npz")
    add("--threat-model", help="row of the table of threat models; arrays need one")
    add("--eps", help="size of the perturbation, such as 0.1, instead of the threat model's")
    add("--recipe", default="digits", help="training recipe (default digits)")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting of it")
    add("--epochs", type=int, help="passes over the training images")
    add("--channels", type=int, default=8, help="width of the networks (default 8)")
    add("--layers", type=int, default=8, help="their number of cells (default 8)")
    add("--seed", type=int, default=0, help="of weights, order and noise (default 0)")
    add("--attack", default="pgd20,pgd100", help="one or several (default pgd20,pgd100)")
    add("--n", type=int, help="judge the first N test images (default: all)")
    add("--certify", type=int, metavar="N", help="also certify the first N test images")
    add("--device", default="auto", help="cpu, cuda, cuda:N or auto (default)")
    add("--data", type=Path, help="folder of the data sets")


def run(options: argparse.Namespace) -> int:
    """Train and attack every cell, certify it if asked for, then write tables and charts."""
    if options.certify is not None and options.certify < 2:
        raise ZooError(f"--certify {options.certify} is too few; averages take 2 images or more.")
    changes = read_pairs(options.set)
    if options.epochs is not None:
        changes["epochs"] = str(options.epochs)
    recipe = override(get_recipe(options.recipe), changes)
    asked: dict[str, Settings] = {}
    for cell in options.cells:
        settings = Settings(
            model=cell,
            dataset=options.dataset,
            recipe=recipe,
            channels=options.channels,
            layers=options.layers,
            seed=options.seed,
            threat_model=options.threat_model,
            epsilon=options.eps,
        )
        name = _name(settings)
        if name in asked:
            raise ZooError(f"Two cells are named '{name}'; change the name in one of their files.")
        asked[name] = settings
    attacks = options.attack.split(",")
    from robnet_zoo.eval import get_attack
    from robnet_zoo.runtime.signals import Stopped

    for attack in attacks:
        get_attack(attack)  # an unknown one is told before any training
    device = pick_device(options.device)
    for name, settings in asked.items():
        _keep(options.out / name / ASKED, settings)
    try:
        trained = {
            name: _train(options.out / name, settings, device, options.data)
            for name, settings in asked.items()
        }
    except Stopped as stopped:
        print(f"stopped; the same command goes on in {options.out}", file=sys.stderr)
        return 128 + stopped.number
    targets = {
        name: _subject(options.out / name, settings, device, options.data)
        for name, settings in asked.items()
    }
    judged = {
        name: Judged(
            _attack(options.out / name, target, attacks, options.n, options.seed),
            _certify(options.out / name, target, options.certify, options.seed),
            trained[name],
        )
        for name, target in targets.items()
    }
    write_comparison(options.out, judged, device)
    print((options.out / PAGE).read_text(encoding="utf-8"), end="")
    return 0


def _name(settings: Settings) -> str:
    """Return what the tables call a cell; a wrong one is told here, before any work."""
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
    if not path.exists():
        write_json(path, asked)
    elif json.loads(path.read_text(encoding="utf-8")) != asked:
        raise ZooError(
            f"'{path.parent}' holds this cell under another genotype or other settings; choose "
            "another --out."
        )


def _train(folder: Path, settings: Settings, device: str, root: Path | None) -> dict[str, Any]:
    """Train a cell as far as it is not trained yet, export it, and return the run's record."""
    from robnet_zoo.train.export import export
    from robnet_zoo.train.session import RECORD as TRAINED
    from robnet_zoo.train.session import train
    from robnet_zoo.train.settings import SETTINGS

    run, weights = folder / RUN, _weights(folder, settings)
    if not weights.exists():
        if not (run / TRAINED).exists():
            started = (run / SETTINGS).exists()
            print(f"training {folder.name}", file=sys.stderr)
            train(settings, run, device=device, root=root, resume=started)
        export(run, weights)
    return json.loads((run / TRAINED).read_text(encoding="utf-8"))


def _weights(folder: Path, settings: Settings) -> Path:
    data = settings.dataset if ":" not in settings.dataset else "arrays"
    return folder / f"{folder.name}.{data}"


def _subject(folder: Path, settings: Settings, device: str, root: Path | None) -> EvalTarget:
    """Return a trained cell with the test images and the threat model to judge it by."""
    from robnet_zoo.data import load_split
    from robnet_zoo.eval import RunMetadata
    from robnet_zoo.eval.target import EvalTarget
    from robnet_zoo.zoo.load import load
    from robnet_zoo.zoo.weights import read_weights

    weights = read_weights(_weights(folder, settings))
    dataset, split = load_split(
        settings.dataset, "test", root=root, threat_model=settings.threat_model
    )
    return EvalTarget(
        model=load(weights).to(device),
        dataset=dataset,
        split=split,
        threat_model=settings.threat(dataset.threat_model),
        metadata=RunMetadata.of_weights(weights, dataset, "test"),
    )


def _attack(
    folder: Path, target: EvalTarget, attacks: Sequence[str], n: int | None, seed: int
) -> EvaluationRecord:
    """Attack a trained cell on the test images, or read what was found before."""
    from robnet_zoo.eval import evaluate

    print(f"attacking {folder.name}", file=sys.stderr)
    return evaluate(
        target.model,
        target.split,
        attacks,
        target.threat_model,
        n=n,
        seed=seed,
        out=folder / EVALUATION,
        resume=True,
        metadata=target.metadata,
    )


def _certify(folder: Path, target: EvalTarget, n: int | None, seed: int) -> Certificate | None:
    """Certify a trained cell on the first n test images, or read what was found before."""
    if n is None:
        return None
    from robnet_zoo.eval.studies import certificate
    from robnet_zoo.eval.studies.certify import certify

    path = folder / CERTIFICATE
    if path.exists() and (found := certificate.read(path)).data.n == n:
        return found
    print(f"certifying {folder.name}", file=sys.stderr)
    norms = [target.threat_model.norm]
    found = certify(target, n=n, norms=norms, seed=seed, out=path, resume=True, quiet=False)
    write_json(path, found.to_dict())
    return found
