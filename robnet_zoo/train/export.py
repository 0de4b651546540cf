"""Turning a finished run into a weights folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from robnet_zoo.errors import ZooError
from robnet_zoo.files import write_text
from robnet_zoo.train.checkpoint import load_checkpoint
from robnet_zoo.train.loop import BEST
from robnet_zoo.train.session import RECORD
from robnet_zoo.train.settings import Settings, read_settings
from robnet_zoo.weights import Weights, save_weights
from robnet_zoo.zoo import plan


def export(run: Path, out: Path) -> Weights:
    """Write the best weights of a finished run as a weights folder.

    An auxiliary head, which only training uses, is left behind.

    Args:
        run: the run's folder.
        out: the weights folder, named "architecture.tag" where it is to be found by name.

    Raises:
        ZooError: the run is not finished, or its files are damaged.
    """
    settings = read_settings(run)
    record = _record(run)
    data, best = record["dataset"], record["best"]
    arguments = settings.model_arguments()
    arguments.pop("auxiliary", None)
    blueprint = plan(
        settings.model,
        num_classes=data["num_classes"],
        in_channels=data["in_channels"],
        **arguments,
    )
    state = load_checkpoint(run / BEST)
    stored = state["average"] if best["weights"] == "ema" else state["model"]
    model = blueprint.build()
    model.load_state_dict({k: v for k, v in stored.items() if not k.startswith("auxiliary_head.")})
    config = {
        "name": out.name,
        **blueprint.config(),
        "dataset": data["name"],
        "image_size": data["image_size"],
        "threat_model": record["threat_model"],
        "training": _training(settings, record),
        "licence": "MIT",
    }
    weights = save_weights(model.eval(), out, config)
    write_text(out / "README.md", _card(weights))
    return weights


def _record(run: Path) -> dict[str, Any]:
    try:
        return json.loads((run / RECORD).read_text(encoding="utf-8"))
    except OSError as error:
        raise ZooError(f"The run in '{run}' is not finished; go on with --resume.") from error
    except ValueError as error:
        raise ZooError(f"'{run / RECORD}' is damaged; --resume writes it anew.") from error


def _training(settings: Settings, record: dict[str, Any]) -> dict[str, Any]:
    data, best = record["dataset"], record["best"]
    return {
        "recipe": settings.recipe.name,
        "settings": record["settings"],
        "seed": settings.seed,
        "epochs": record["epochs"],
        "selection": record["selection"],
        "selected": {**best, "n": data["held_out_images"]},
        "seconds": record["seconds"],
        "cost": record["cost"],
        "data_sha256": data["training_sha256"],
        "environment": record["environment"],
    }


def _card(weights: Weights) -> str:
    """Return the model card: front matter for the Hub, then what a reader must know."""
    training, threat = weights.training, weights.threat_model
    selected = training["selected"]
    robust = selected["robust"]
    held_out = f"clean {selected['clean']:.1%}" + (
        "" if robust is None else f", PGD-10 {robust:.1%}"
    )
    return f"""---
library_name: robnet_zoo
license: mit
datasets:
- {weights.dataset}
tags:
- image-classification
- adversarial-robustness
- neural-architecture-search
---
# {weights.name}

{weights.architecture} ({weights.genotype_status} genotype), {weights.parameters:,} parameters,
trained on {weights.dataset} with the recipe `{training["recipe"]}` (seed {training["seed"]},
{training["epochs"]} epochs) against {threat["norm"]} {threat["epsilon"]}.

The epoch was chosen on {selected["n"]} held-out training images: {held_out} there. That is no
test result; `config.json` holds the test results under `results` once the weights are evaluated.

```python
from robnet_zoo import create_model

model = create_model("local-dir:{weights.name}", verify=True)  # pixels in [0,1] -> logits
```
"""
