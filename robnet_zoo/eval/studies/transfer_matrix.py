"""The transfer matrix: every model under the adversarial images of every other (RACL, Table 3)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from robnet_zoo.attacks.batch import BLOCK_SIZE, AttackBatch
from robnet_zoo.attacks.methods.gradient import GradientAttack
from robnet_zoo.attacks.methods.transfer import PREFIX, Source, Transfer, adversarial_block
from robnet_zoo.attacks.model import AttackedModel, preserve_state
from robnet_zoo.attacks.verdicts import within
from robnet_zoo.eval.inputs import take_first
from robnet_zoo.eval.record import bits, proportion_of
from robnet_zoo.eval.target import EvalTarget
from robnet_zoo.plotting import accuracy as figures
from robnet_zoo.plotting.style import save
from robnet_zoo.runtime import console, files
from robnet_zoo.runtime.decode import to_builtins
from robnet_zoo.runtime.environment import environment
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.statistics import Proportion
from robnet_zoo.runtime.tables import csv_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA = "robnet_zoo.transfer/1"


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Verdicts of every model on the adversarial images of every model.

    Attributes:
        models: names, in the order of rows (sources) and columns (targets).
        models_sha256: the hash of each model's parameters and buffers.
        attack: name and settings of the attack on the sources.
        data: name, split, n and sha256 of the images.
        threat_model: norm and epsilon.
        clean: for each model, "1" for each image that it classifies correctly.
        verdicts: for each source, for each target, "1" for each image that the target classifies
            correctly both without and with the change made on the source.
    """

    models: tuple[str, ...]
    models_sha256: tuple[str, ...]
    attack: dict[str, Any]
    data: dict[str, Any]
    threat_model: dict[str, Any]
    seed: int
    clean: tuple[str, ...]
    verdicts: tuple[tuple[str, ...], ...]
    environment: dict[str, Any]
    created: str

    def accuracy(self, source: int, target: int) -> Proportion:
        """Return a target's accuracy; where it is the source itself, its white-box accuracy."""
        return proportion_of(self.verdicts[source][target])

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values, the accuracies among them."""
        everyone = range(len(self.models))
        rates = [[to_builtins(self.accuracy(s, t)) for t in everyone] for s in everyone]
        return {"schema": SCHEMA, **asdict(self), "accuracy": rates}

    def to_csv(self) -> str:
        """Return percentages: a row for each source, a column for each target, and clean ones."""
        everyone = range(len(self.models))
        rows = [["clean", *(_percent(proportion_of(verdicts)) for verdicts in self.clean)]]
        for source, name in enumerate(self.models):
            rows.append([name, *(_percent(self.accuracy(source, t)) for t in everyone)])
        return csv_table(["source", *self.models], rows)


def _percent(found: Proportion) -> str:
    return f"{100 * found.accuracy:.2f}"


def transfer_matrix(
    targets: Sequence[EvalTarget],
    base: GradientAttack,
    *,
    n: int | None = None,
    seed: int = 0,
    batch_size: int = 256,
    quiet: bool = True,
) -> Matrix:
    """Judge every model on the adversarial images of every model.

    Args:
        targets: the models, on the same images under the same threat model.
        base: the attack on each of them.
        n: judge the first n images; all if None.
        seed: of all randomness.
        batch_size: images in a forward pass.
        quiet: show no progress bar.

    Raises:
        ZooError: data sets or threat models differ, or a model is named twice.
    """
    first = targets[0]
    _refuse_mixture(targets)
    threat_model = first.threat_model
    images = take_first(first.split, n, next(first.model.parameters()).device)
    sources = [Source(one.metadata.model, one.model) for one in targets]
    attacks = [
        Transfer(name=f"{PREFIX}{source.name}:{base.name}", source=source, base=base)
        for source in sources
    ]
    clean: list[list[bool]] = [[] for _ in sources]
    flags: list[list[list[bool]]] = [[[] for _ in sources] for _ in sources]
    cost = sum(attack.cost() + len(sources) for attack in attacks)
    with ExitStack() as stack:
        bar = None
        if not quiet:
            bar = stack.enter_context(
                console.progress(cost * len(images), "Transferring", "passes")
            )
        for source in sources:
            stack.enter_context(preserve_state(source.model))
        attacked_models = [AttackedModel(source.model, batch_size) for source in sources]
        for number, indices in enumerate(torch.arange(len(images)).split(BLOCK_SIZE)):
            batch = AttackBatch(
                number=number,
                indices=indices,
                images=images.take(indices),
                labels=images.labels[indices.to(images.labels.device)],
                seed=seed,
            )
            right = [own.predict(batch.images) == batch.labels for own in attacked_models]
            for model, known in enumerate(right):
                clean[model] += known.tolist()
            for row, attack in enumerate(attacks):
                made, _ = adversarial_block(attack, batch, threat_model, attacked_models[row])
                harmless = ~within(made, batch.images, threat_model)
                for column, target in enumerate(attacked_models):
                    survived = harmless | (target.predict(made) == batch.labels)
                    flags[row][column] += (right[column] & survived).tolist()
                if bar is not None:
                    bar.advance((attack.cost() + len(sources)) * len(indices), attack.source.name)
    return Matrix(
        models=tuple(source.name for source in sources),
        models_sha256=tuple(source.sha256 for source in sources),
        attack=base.settings(threat_model),
        data={
            "name": first.metadata.data,
            "split": first.metadata.split,
            "n": len(images),
            "sha256": images.sha256,
        },
        threat_model={"norm": threat_model.norm, "epsilon": threat_model.epsilon.text},
        seed=seed,
        clean=tuple(map(bits, clean)),
        verdicts=tuple(tuple(map(bits, row)) for row in flags),
        environment=environment(str(images.labels.device)),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _refuse_mixture(targets: Sequence[EvalTarget]) -> None:
    first = targets[0]
    for number, one in enumerate(targets):
        if (one.metadata.data, one.threat_model) != (first.metadata.data, first.threat_model):
            raise ZooError(
                f"{first.metadata.model} is judged on {first.metadata.data} under "
                f"{first.threat_model} and {one.metadata.model} on {one.metadata.data} under "
                f"{one.threat_model}; a matrix needs one data set and threat model."
            )
        if one.metadata.model in [other.metadata.model for other in targets[:number]]:
            raise ZooError(f"Model '{one.metadata.model}' is named twice; name each model once.")


def write(matrix: Matrix, folder: Path) -> None:
    """Write matrix.json, matrix.csv and matrix.png into a folder."""
    files.write_json(folder / "matrix.json", matrix.to_dict())
    files.write_text(folder / "matrix.csv", matrix.to_csv())
    save(heat_map(matrix), folder / "matrix.png")


def heat_map(matrix: Matrix) -> Figure:
    """Draw the accuracies."""
    everyone = range(len(matrix.models))
    values = [[matrix.accuracy(s, t).accuracy for t in everyone] for s in everyone]
    return figures.heat_map(matrix.models, matrix.models, values)


def read(path: Path) -> Matrix:
    """Read a matrix that `write` wrote.

    Raises:
        ZooError: not such a file.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found.pop("schema") != SCHEMA:
            raise ValueError(f"it is not of format {SCHEMA}")
        del found["accuracy"]
        for key in ("models", "models_sha256", "clean"):
            found[key] = tuple(found[key])
        return Matrix(**{**found, "verdicts": tuple(map(tuple, found["verdicts"]))})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ZooError(f"Cannot read the transfer matrix '{path}': {error}.") from error
