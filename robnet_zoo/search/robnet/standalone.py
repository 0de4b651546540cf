"""One-shot scores against stand-alone training, and the chosen architecture on other images.

The search rests on the assumption that architectures which share a supernet's weights rank as they
would if each was trained by itself. And the best of many candidates owes some of its score to the
images that chose it. Here some of a finished study's candidates, the chosen one among them, are
fine-tuned again as the study did, trained from scratch as well, and both are attacked on the test
images, which chose nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from robnet_zoo.data import load_split
from robnet_zoo.eval import RunMetadata, evaluate
from robnet_zoo.eval.record import EvaluationRecord, read
from robnet_zoo.genotypes import genotype_to_dict
from robnet_zoo.runtime.checkpoint import LAST
from robnet_zoo.runtime.decode import read_json
from robnet_zoo.runtime.distributed import ProcessGroup
from robnet_zoo.runtime.environment import environment
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import check_writable, sha256_of, write_json
from robnet_zoo.search.compare.judge import Comparison, compare
from robnet_zoo.search.compare.table import EVALUATION
from robnet_zoo.search.robnet.analysis.one_shot import Judged, draw, findings_of, rows_of
from robnet_zoo.search.robnet.analysis.relations import Rows
from robnet_zoo.search.robnet.finetune import Accuracy, finetune, inherited, score
from robnet_zoo.search.robnet.finished import Study, check_supernet, read_finished
from robnet_zoo.search.robnet.inherit import genotype_of
from robnet_zoo.search.robnet.recipe import RobNetRecipe
from robnet_zoo.search.robnet.stages import ALGORITHM, load_supernet
from robnet_zoo.search.robnet.table import Studied, write_table
from robnet_zoo.search.run.artifacts import searched_source
from robnet_zoo.search.run.asked import keep_asked
from robnet_zoo.search.run.data import SearchData, load_search_data
from robnet_zoo.train.recipes import Recipe
from robnet_zoo.train.settings import Settings

FORMAT = "robnet_zoo.search.standalone/1"
NAME = "standalone"
ATTACK = "pgd20"  # on the test images; the study's own attack has scored the held-out ones
ASKED, GENOTYPES, TUNED, TRAINED = "asked.json", "genotypes", "fine-tuned", "stand-alone"
HELD_OUT = "held_out.json"


@dataclass(frozen=True)
class Standalone:
    """What is asked.

    Attributes:
        folder: of the finished study.
        supernet: folder of its supernet.
        out: where everything goes.
        architectures: number of candidates.
        recipe: how they are trained from scratch.
        seed: of these trainings and of the attacks on the test images.
        device: where the work is done.
        root: folder of the data sets; None for the usual ones.
    """

    folder: Path
    supernet: Path
    out: Path
    architectures: int
    recipe: Recipe
    seed: int
    device: str
    root: Path | None = None


def run_standalone(asked: Standalone) -> tuple[Rows, dict[str, Any]]:
    """Do what is asked as far as it is not done, write the results, return table and record.

    The folder gets standalone.csv, standalone.json and standalone.png.

    Raises:
        Stopped: the process was asked to stop and has saved its work.
        ZooError: no finished study, another supernet than its own, no test images, or a folder
            that holds other work.
    """
    check_writable(asked.out / ASKED)
    study = read_finished(asked.folder)
    recipe, candidates = study.recipe, study.some(asked.architectures)
    if recipe.dataset.startswith("arrays:"):
        raise ZooError(
            f"'{recipe.dataset}' has no test images besides those that the search saw; take a "
            "study on a data set that has some."
        )
    check_supernet(asked.supernet, recipe)
    training = _training(asked, recipe)
    _keep(asked, study, training)
    processes = ProcessGroup(device=asked.device)
    data = load_search_data(recipe, streams=("weights",), processes=processes, root=asked.root)
    held_out = _finetune(asked, recipe, candidates, data)
    cells = [
        replace(training, model=f"cells:{_genotype(asked.out, recipe, each)}")
        for each in candidates
    ]
    folder = asked.out / TRAINED
    compare(cells, Comparison(folder, (ATTACK,), None, None, asked.seed, asked.device, asked.root))
    records = {
        kind: [read(asked.out / kind / name_of(each) / EVALUATION) for each in candidates]
        for kind in (TUNED, TRAINED)
    }
    judged = [
        Judged.of(each, each.number == study.chosen, tuned, trained)
        for each, tuned, trained in zip(candidates, *records.values(), strict=True)
    ]
    return _write(asked, study, judged, held_out, records, data)


def name_of(candidate: Studied) -> str:
    """Return what files and tables call a candidate."""
    return f"candidate-{candidate.number}"


def _training(asked: Standalone, recipe: RobNetRecipe) -> Settings:
    """Return how candidates are trained from scratch, but for the model."""
    return Settings(
        model="",
        dataset=recipe.dataset,
        recipe=asked.recipe,
        channels=recipe.channels,
        layers=recipe.layers,
        seed=asked.seed,
        threat_model=recipe.threat_model,
        epsilon=recipe.epsilon,
    )


def _keep(asked: Standalone, study: Study, training: Settings) -> None:
    """Write down what is asked, or hold it against what was asked before; candidates may join."""
    settings = {
        "supernet": sha256_of(asked.supernet / LAST),
        "study": {k: v for k, v in asdict(study.recipe).items() if k != "architectures"},
        "training": training.as_dict(),
        "attack": ATTACK,
    }
    keep_asked(
        asked.out / ASKED,
        settings,
        f"'{asked.out}' holds work on another study or with other settings; choose another --out.",
    )


def _finetune(
    asked: Standalone, recipe: RobNetRecipe, candidates: Sequence[Studied], data: SearchData
) -> dict[int, Accuracy]:
    """Fine-tune and attack the candidates that are not done; return all held-out accuracies.

    These are measured anew: where they are those of the study, so are the networks.
    """
    supernet, _ = load_supernet(asked.supernet, recipe, data)
    dataset, test = load_split(
        recipe.dataset, "test", root=asked.root, threat_model=recipe.threat_model
    )
    held_out = {}
    for candidate in candidates:
        folder = asked.out / TUNED / name_of(candidate)
        if not ((folder / HELD_OUT).exists() and (folder / EVALUATION).exists()):
            print(f"fine-tuning {folder.name}", file=sys.stderr)
            network = inherited(supernet, candidate.codes, data, recipe)
            finetune(network, data, recipe)
            write_json(folder / HELD_OUT, score(network, data, recipe)._asdict())
            metadata = RunMetadata(
                model=f"{folder.name}, fine-tuned from the supernet",
                genotype_status="searched here",
                data=dataset.name,
                split="test",
                class_names=dataset.class_names,
                image_size=dataset.image_size,
            )
            evaluate(
                network,
                test,
                (ATTACK,),
                data.threat,
                seed=asked.seed,
                out=folder / EVALUATION,
                resume=True,
                metadata=metadata,
            )
        values = read_json(folder / HELD_OUT, dict[str, float], "held-out accuracy")
        held_out[candidate.number] = Accuracy(**values)
    return held_out


def _genotype(out: Path, recipe: RobNetRecipe, candidate: Studied) -> Path:
    """Write a candidate's genotype, as `cells:FILE` takes it, and return the file."""
    path = out / GENOTYPES / f"{name_of(candidate)}.json"
    source = searched_source(ALGORITHM, recipe) | {"candidate": candidate.number}
    genotype = genotype_of(candidate.codes, name_of(candidate), source)
    write_json(path, genotype_to_dict(genotype))
    return path


def _write(
    asked: Standalone,
    study: Study,
    judged: Sequence[Judged],
    held_out: dict[int, Accuracy],
    records: dict[str, list[EvaluationRecord]],
    data: SearchData,
) -> tuple[Rows, dict[str, Any]]:
    """Write table, picture and record, and return table and record."""
    first = records[TUNED][0]
    differences = [abs(held_out[e.studied.number].robust - e.studied.robust) for e in judged]
    failed = {
        f"{kind}/{name_of(each.studied)}": [check.name for check in record.failed_checks]
        for kind, of_kind in records.items()
        for each, record in zip(judged, of_kind, strict=True)
        if record.failed_checks
    }
    record = {
        "format": FORMAT,
        "study": asdict(study.recipe),
        "training": _training(asked, study.recipe).as_dict() | {"model": None},
        "supernet_sha256": sha256_of(asked.supernet / LAST),
        "seed": asked.seed,
        "threat_model": {"norm": data.threat.norm, "epsilon": data.threat.epsilon.text},
        "held_out": {
            "images": len(data.validation),
            "sha256": data.validation.fingerprint,
            "attack": f"PGD-{study.recipe.score_steps}, last iterate",
        },
        "test": {
            "images": first.data.n,
            "sha256": first.data.sha256,
            "attack": f"{first.attack_names[0]}, any iterate",
        },
        "found": findings_of(judged, study.has_extra(len(judged)), len(data.validation)),
        "fine_tuned_again": {  # robust accuracy on the held-out images, against the study's
            "equal": sum(difference < 1e-6 for difference in differences),
            "candidates": len(judged),
            "largest_difference": max(differences),
        },
        "failed_checks": failed,
        "environment": environment(asked.device),
    }
    rows = rows_of(judged)
    write_table(asked.out / f"{NAME}.csv", rows)
    draw(asked.out / f"{NAME}.png", rows, record)
    write_json(asked.out / f"{NAME}.json", record)
    return rows, record
