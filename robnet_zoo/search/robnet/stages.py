"""The search from its supernet to its genotype, stage by stage; each goes on where it stopped."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import optuna

from robnet_zoo.runtime.checkpoint import LAST, load_checkpoint
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import check_writable, sha256_of
from robnet_zoo.search.core.supernet import Supernet
from robnet_zoo.search.robnet.analysis.figures import FEWEST, available, make_figure
from robnet_zoo.search.robnet.budget import check_parameters, sampler
from robnet_zoo.search.robnet.codes import (
    COLUMNS,
    Codes,
    convolutions,
    count_parameters,
    density,
    from_text,
    identities,
    to_text,
)
from robnet_zoo.search.robnet.finetune import judge
from robnet_zoo.search.robnet.free import measure_candidates, reject
from robnet_zoo.search.robnet.inherit import genotype_of, sizes
from robnet_zoo.search.robnet.recipe import STUDY_SETTINGS, RobNetRecipe
from robnet_zoo.search.robnet.storage import DATABASE, open_study
from robnet_zoo.search.robnet.storage_url import storage_errors
from robnet_zoo.search.robnet.study import Row, retry_failed, tally, work
from robnet_zoo.search.robnet.supernet import SupernetTraining, build_supernet
from robnet_zoo.search.robnet.table import COMPLETE, FAILED, STUDY, write_table
from robnet_zoo.search.run.artifacts import RECORD, finish, searched_source
from robnet_zoo.search.run.data import SearchData
from robnet_zoo.search.run.loop import run_search
from robnet_zoo.search.run.recipe import recipe_of
from robnet_zoo.search.run.session import RunPaths

ALGORITHM = "robnet"
FSP_STUDY = "flows"  # folder and name, as first written, of the study that measures FSP distances

Candidate = tuple[Codes, float | None]  # and its robust accuracy before fine-tuning, if known


def train_supernet(recipe: RobNetRecipe, data: SearchData, paths: RunPaths) -> None:
    """Train the supernet; the folder gets history.csv and last.pt."""
    training = SupernetTraining(recipe, data)
    run_search(
        training, data, recipe, paths.folder, resume=paths.resume, save_every=paths.save_every
    )
    # a barrier: the file is whole for every process
    data.processes.sum(training.weight_optimizer.parameters[0].new_zeros(1))


def supernet_recipe(folder: Path) -> RobNetRecipe:
    """Return the recipe that the supernet in a folder was trained with.

    Raises:
        ZooError: there is none, or its training has not ended.
    """
    state = load_checkpoint(folder / LAST)
    if "recipe" not in state or "space" not in state["recipe"]:
        raise ZooError(f"'{folder / LAST}' is not the checkpoint of a RobNet supernet.")
    recipe = recipe_of(state["recipe"], RobNetRecipe, f"checkpoint '{folder / LAST}'")
    if state["epoch"] < recipe.epochs:
        raise ZooError(
            f"The supernet in '{folder}' has {state['epoch']} of {recipe.epochs} epochs; go on "
            "with its training by --resume first."
        )
    return recipe


def load_supernet(
    folder: Path, recipe: RobNetRecipe, data: SearchData
) -> tuple[Supernet, list[dict[str, Any]]]:
    """Return a trained supernet in eval mode, and the log of its training."""
    state = load_checkpoint(folder / LAST, data.processes.device)
    supernet = build_supernet(recipe, data)
    supernet.load_state_dict(state["search"]["supernet"])
    return supernet.eval(), state["rows"]


def study(
    recipe: RobNetRecipe,
    data: SearchData,
    supernet_folder: Path,
    folder: Path,
    *,
    storage: str | None = None,
    patience: int = 120,
    retry: bool = False,
) -> None:
    """Judge the candidates with any other workers, and write the results.

    Args:
        recipe: the supernet's, with the study's own settings.
        data: for this worker alone.
        supernet_folder: folder of a trained supernet.
        folder: where study.csv, the genotype and the rest go; workers share it.
        storage: as for `open_study`.
        patience: as for `open_study`.
        retry: judge the candidates again that have failed.

    Raises:
        ZooError: the folder cannot be written, the storage cannot be used, or no candidate can be
            judged.
    """
    check_writable(folder / STUDY)
    check_size(recipe, data)
    url = storage or f"sqlite:///{folder / DATABASE}"
    with storage_errors(url, "has failed", "start the worker again, and it goes on"):
        _study(recipe, data, supernet_folder, folder, storage, patience, retry)


def check_size(recipe: RobNetRecipe, data: SearchData) -> None:
    """Raise ZooError where no candidate can have the size that the recipe asks for."""
    if recipe.parameters is None:
        return
    check_parameters(
        recipe.parameters,
        recipe.cells,
        None if recipe.budget == "any" else recipe.budget,
        channels=recipe.channels,
        layers=recipe.layers,
        num_classes=data.dataset.num_classes,
        in_channels=data.dataset.in_channels,
    )


def _study(
    recipe: RobNetRecipe,
    data: SearchData,
    supernet_folder: Path,
    folder: Path,
    storage: str | None,
    patience: int,
    retry: bool,
) -> None:
    supernet, rows = load_supernet(supernet_folder, recipe, data)
    moot = ("architectures", "fsp_candidates" if recipe.space == "cell" else "")
    settings = {name: getattr(recipe, name) for name in STUDY_SETTINGS if name not in moot}
    settings["supernet"] = sha256_of(supernet_folder / LAST)
    opened = open_study(folder, settings, url=storage, patience=patience)
    open_fsp_study = partial(
        open_study, folder / FSP_STUDY, settings | {"of": FSP_STUDY}, url=storage, patience=patience
    )
    if retry:
        retry_failed(opened)
    candidate = candidates(recipe, supernet, data, folder, open_fsp_study)

    def judged(number: int) -> Row:
        codes, before = candidate(number)
        scores = dataclasses.asdict(judge(supernet, codes, data, recipe, before))
        size = count_parameters(codes, **sizes(supernet))
        values = {
            "number": number,
            "code": to_text(codes),
            "density": density(codes),
            "convs": convolutions(codes),
            "identities": identities(codes),
            "parameters": size,
            "state": COMPLETE,
        } | scores
        return {column: values[column] for column in COLUMNS}

    def report(done: list[Row], failed: Mapping[int, str]) -> None:
        lost = [dict.fromkeys(COLUMNS) | {"number": n, "state": FAILED} for n in failed]
        if done or lost:
            write_table(folder / STUDY, sorted(done + lost, key=lambda row: row["number"]))

    complete = work(opened, recipe.architectures, judged, report)
    conclude(recipe, data, folder, complete, rows, tally(opened, recipe.architectures).failed)


def candidates(
    recipe: RobNetRecipe,
    supernet: Supernet,
    data: SearchData,
    folder: Path,
    open_fsp_study: Callable[[], optuna.Study],
) -> Callable[[int], Candidate]:
    """Return the function from a candidate's number to its codes.

    Cell-free, candidates are those of the drawn architectures that an attack moves least, which
    workers measure together in the study that `open_fsp_study` opens. The attack gives their
    robust accuracy with inherited weights too.
    """
    draw_from = sampler(
        cells=recipe.cells,
        keep=recipe.keep,
        budget=None if recipe.budget == "any" else recipe.budget,
        parameters=recipe.parameters,
        **sizes(supernet),
    )

    def draw(number: int) -> Codes:
        return draw_from(random.Random(f"{recipe.seed}/candidate/{number}"))

    if recipe.space == "cell":
        return lambda number: (draw(number), None)
    measured = measure_candidates(open_fsp_study(), supernet, data, recipe, draw, folder)
    kept = reject(measured, recipe.architectures)
    return lambda number: (kept[number].codes, kept[number].robust_before)


def conclude(
    recipe: RobNetRecipe,
    data: SearchData,
    folder: Path,
    judged: list[Row],
    rows: list[dict[str, Any]],
    failed: Mapping[int, str],
) -> None:
    """Write the best candidate's genotype, the record, and the paper's figures."""
    best = max(judged, key=lambda row: (row["robust"], row["clean"], -row["number"]))
    source = searched_source(ALGORITHM, recipe) | {"candidate": best["number"]}
    name = f"robnet-{recipe.space}-{data.dataset.name}-seed{recipe.seed}"
    genotype = genotype_of(from_text(best["code"]), name, source)
    mean = {
        key: sum(row[key] for row in judged) / len(judged)
        for key in ("clean", "robust_before", "robust")
    }
    seconds = sum(row["seconds"] for row in judged)
    findings = {"best": best, "mean": mean, "study_seconds": round(seconds, 1)}
    if failed:
        findings["failed"] = {str(number): reason for number, reason in failed.items()}
    finish(folder, ALGORITHM, recipe, data, genotype, rows, findings)
    if len(judged) >= FEWEST:
        for name in available([folder]):
            make_figure(name, [folder], folder / "analysis")
    print(
        f"{folder}: best of {len(judged)} is candidate {best['number']}, robust "
        f"{best['robust']:.1%} (mean {mean['robust']:.1%}), clean {best['clean']:.1%}, density "
        f"{best['density']:.2f}, {best['parameters']:,} parameters"
        + (f"; {len(failed)} more failed (see {RECORD})" if failed else "")
    )
