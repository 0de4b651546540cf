"""The files that a finished search leaves: genotype, drawings, recipe and record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from robnet_zoo.genotypes import Genotype, genotype_to_dict
from robnet_zoo.plotting.cells import draw
from robnet_zoo.runtime.environment import environment
from robnet_zoo.runtime.files import write_json
from robnet_zoo.search.run.data import SearchData
from robnet_zoo.search.run.finite import check_finite
from robnet_zoo.search.run.recipe import SearchRecipe, write_recipe

GENOTYPE, RECIPE, RECORD = "genotype.json", "recipe.toml", "record.json"
FORMAT = "robnet_zoo.search.record/1"


def searched_source(algorithm: str, recipe: SearchRecipe) -> dict[str, Any]:
    """Return what a searched genotype says of where it comes from."""
    return {
        "search": algorithm,
        "recipe": recipe.name,
        "dataset": recipe.dataset,
        "seed": recipe.seed,
        "epochs": recipe.epochs,
    }


def finish(
    folder: Path,
    algorithm: str,
    recipe: SearchRecipe,
    data: SearchData,
    genotype: Genotype,
    rows: Sequence[Mapping[str, Any]],
    findings: Mapping[str, Any] | None = None,
) -> None:
    """Write recipe.toml, record.json, cells.svg and cells.png, and genotype.json last of all.

    Args:
        folder: the search's folder.
        algorithm: such as "racl".
        recipe: the settings; `--recipe FOLDER/recipe.toml` repeats the search.
        data: the images that were used.
        genotype: the result.
        rows: the log, one row an epoch.
        findings: figures that belong in the record.

    Raises:
        ZooError: one of these is not finite.
    """
    findings = dict(findings or {})
    check_finite(findings, "at the end")
    write_recipe(folder / RECIPE, recipe)
    record = {
        "format": FORMAT,
        "algorithm": algorithm,
        "recipe": dataclasses.asdict(recipe),
        "dataset": {
            "name": data.dataset.name,
            "images": {stream.stream: len(stream.split) for stream in data.streams},
            "sha256": {stream.stream: stream.split.fingerprint for stream in data.streams},
            "held_out_images": len(data.validation),
            "held_out_sha256": data.validation.fingerprint,
        },
        "threat_model": {"norm": data.threat.norm, "epsilon": data.threat.epsilon.text},
        "last": dict(rows[-1]) if rows else None,
        "found": findings,
        "seconds": round(rows[-1]["seconds"], 1) if rows else None,
        "processes": data.processes.size,
        "environment": environment(data.processes.device),
    }
    write_json(folder / RECORD, record)
    title = f"{genotype.name}: searched here"
    subtitle = f"{algorithm} on {recipe.dataset}, {recipe.name} recipe, seed {recipe.seed}"
    for name in ("cells.svg", "cells.png"):
        draw(genotype, folder / name, title, subtitle)
    write_json(folder / GENOTYPE, genotype_to_dict(genotype))
