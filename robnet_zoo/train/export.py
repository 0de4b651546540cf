"""Turning a finished run into a weights folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from robnet_zoo.data import ARRAYS
from robnet_zoo.runtime.checkpoint import BEST, load_checkpoint
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.train.init import origin
from robnet_zoo.train.session import RECORD
from robnet_zoo.train.settings import Settings, read_settings
from robnet_zoo.zoo import save_weights
from robnet_zoo.zoo.blueprints import blueprint
from robnet_zoo.zoo.card import write_card
from robnet_zoo.zoo.weights import Weights

ORIGIN = ("init", "init_sha256")  # settings that the weights tell in an entry of their own


def export(
    run: Path, out: Path, dataset: str | None = None, data_note: str | None = None
) -> Weights:
    """Write the best weights of a finished run as a weights folder.

    An auxiliary head, which only training uses, is left behind.

    Args:
        run: the run's folder.
        out: the weights folder, named "architecture.tag" where it is to be found by name.
        dataset: name of the data set, where it was read from a file that does not tell.
        data_note: what is to be known about the training data, likewise.

    Raises:
        ZooError: the run is not finished, or its files are damaged.
    """
    settings = read_settings(run)
    record = _record(run)
    data, best = record["dataset"], record["best"]
    design = blueprint(
        settings.model,
        num_classes=data["num_classes"],
        in_channels=data["in_channels"],
        **settings.model_arguments(),
    )
    state = load_checkpoint(run / BEST)
    stored = state["average"] if best["weights"] == "ema" else state["model"]
    model = design.build()
    model.load_state_dict({k: v for k, v in stored.items() if not k.startswith("auxiliary_head.")})
    config = {
        "name": out.name,
        **design.config(),
        "dataset": dataset or data["name"],
        "image_size": data["image_size"],
        **({"class_names": names} if (names := data.get("class_names")) else {}),
        "threat_model": record["threat_model"],
        "training": _training(settings, record, data_note or data.get("note")),
        "licence": "MIT",
    }
    weights = save_weights(model.eval(), out, config, dtype=torch.float16)
    write_card(weights)
    return weights


def _record(run: Path) -> dict[str, Any]:
    try:
        return json.loads((run / RECORD).read_text(encoding="utf-8"))
    except OSError as error:
        raise ZooError(f"The run in '{run}' is not finished; go on with --resume.") from error
    except ValueError as error:
        raise ZooError(f"'{run / RECORD}' is damaged; --resume writes it anew.") from error


def _training(settings: Settings, record: dict[str, Any], note: str | None) -> dict[str, Any]:
    data, best = record["dataset"], record["best"]
    return {
        "recipe": settings.recipe.name,
        "settings": {
            **{key: value for key, value in record["settings"].items() if key not in ORIGIN},
            "dataset": _without_folder(settings.dataset),
        },
        "seed": settings.seed,
        "epochs": record["epochs"],
        "selection": record["selection"],
        "selected": {**best, "n": data["held_out_images"]},
        "seconds": record["seconds"],
        "cost": record["cost"],
        "data_sha256": data["training_sha256"],
        **({"data_note": note} if note else {}),
        **origin(settings),
        "environment": record["environment"],
    }


def _without_folder(dataset: str) -> str:
    """Return a data set's name without the place of a user's file."""
    if not dataset.startswith(ARRAYS):
        return dataset
    return ARRAYS + Path(dataset.removeprefix(ARRAYS)).name
