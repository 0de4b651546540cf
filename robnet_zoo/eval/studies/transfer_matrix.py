"""The transfer matrix: every model under the adversarial images of every other (RACL, Table 3)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from msgspec import Struct

from robnet_zoo.attacks.batch import BLOCK_SIZE, AttackBatch
from robnet_zoo.attacks.methods.transfer import Transfer, Transferable, adversarial_block
from robnet_zoo.attacks.methods.transfer_source import PREFIX, Source
from robnet_zoo.attacks.model import AttackedModel, device_of, preserve_state
from robnet_zoo.attacks.registry import heading
from robnet_zoo.attacks.verdicts import within
from robnet_zoo.eval.inputs import take_first
from robnet_zoo.eval.record.fields import Verdicts, bits, proportion_of
from robnet_zoo.eval.target import BATCH_SIZE, EvalTarget
from robnet_zoo.plotting import accuracy
from robnet_zoo.plotting.style import save
from robnet_zoo.runtime import console
from robnet_zoo.runtime.decode import PositiveCount, read_json, to_builtins
from robnet_zoo.runtime.environment import environment
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import write_json, write_text
from robnet_zoo.runtime.statistics import Proportion
from robnet_zoo.runtime.tables import csv_table
from robnet_zoo.threat_models import Norm

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA = "robnet_zoo.transfer/1"


class MatrixData(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The images that every model is judged on."""

    name: str
    split: str
    n: PositiveCount
    sha256: str


class MatrixThreat(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the attacker may do."""

    norm: Norm
    epsilon: str


class TransferMatrix(Struct, frozen=True, kw_only=True, tag_field="schema", tag=SCHEMA):
    """Verdicts of every model on the adversarial images of every model.

    Attributes:
        models: names, in the order of rows (sources) and columns (targets).
        models_sha256: the hash of each model's parameters and buffers.
        attack: name and settings of the attack on the sources.
        data, threat_model, seed: what the models were judged on.
        clean: for each model, "1" for each image that it classifies correctly.
        verdicts: for each source, for each target, "1" for each image that the target classifies
            correctly both without and with the change made on the source.
    """

    models: tuple[str, ...]
    models_sha256: tuple[str, ...]
    attack: dict[str, Any]
    data: MatrixData
    threat_model: MatrixThreat
    seed: int
    clean: tuple[Verdicts, ...]
    verdicts: tuple[tuple[Verdicts, ...], ...]
    environment: dict[str, Any]
    created: str

    def __post_init__(self) -> None:
        if {len(self.clean), len(self.verdicts), *map(len, self.verdicts)} != {len(self.models)}:
            raise ValueError("verdicts of every model on the images of every model are needed")

    def accuracies(self) -> list[list[Proportion]]:
        """Return a row for each source with each target's accuracy; the diagonal is white-box."""
        return [[proportion_of(verdicts) for verdicts in row] for row in self.verdicts]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values, the accuracies among them."""
        return {**to_builtins(self), "accuracy": to_builtins(self.accuracies())}

    def to_csv(self) -> str:
        """Return percentages: a row for each source, a column for each target, and clean ones."""
        clean = [proportion_of(verdicts) for verdicts in self.clean]
        rows = zip(("clean", *self.models), (clean, *self.accuracies()), strict=True)
        lines = [[name, *(f"{100 * rate.accuracy:.2f}" for rate in row)] for name, row in rows]
        return csv_table(["source", *self.models], lines)


def transfer_matrix(
    targets: Sequence[EvalTarget],
    base: Transferable,
    *,
    n: int | None = None,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    quiet: bool = True,
) -> TransferMatrix:
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
    _validate_targets(targets)
    threat_model = first.threat_model
    images = take_first(first.split, n, device_of(first.model))
    sources = [Source(target.metadata.model, target.model) for target in targets]
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
        passed: list[int] = []  # images in passes lately
        attacked_models = [
            AttackedModel(source.model, batch_size, lambda count, _: passed.append(count))
            for source in sources
        ]
        for number, indices in enumerate(torch.arange(len(images)).split(BLOCK_SIZE)):
            batch = AttackBatch(
                number=number,
                indices=indices,
                images=images.take(indices),
                labels=images.labels_of(indices),
                seed=seed,
            )
            right = [own.predict(batch.images) == batch.labels for own in attacked_models]
            for model, known in enumerate(right):
                clean[model] += known.tolist()
            for row, attack in enumerate(attacks):
                passed.clear()
                made, _ = adversarial_block(attack, batch, threat_model, attacked_models[row])
                if bar is not None:  # images that were kept cost nothing
                    (bar.advance if passed else bar.skip)(attack.cost() * len(indices))
                harmless = ~within(made, batch.images, threat_model)
                for column, target in enumerate(attacked_models):
                    survived = harmless | (target.predict(made) == batch.labels)
                    flags[row][column] += (right[column] & survived).tolist()
                if bar is not None:
                    bar.advance(len(sources) * len(indices), attack.source.name)
    return TransferMatrix(
        models=tuple(source.name for source in sources),
        models_sha256=tuple(source.sha256 for source in sources),
        attack=base.settings(threat_model),
        data=MatrixData(
            name=first.metadata.data,
            split=first.metadata.split,
            n=len(images),
            sha256=images.sha256,
        ),
        threat_model=MatrixThreat(norm=threat_model.norm, epsilon=threat_model.epsilon.text),
        seed=seed,
        clean=tuple(map(bits, clean)),
        verdicts=tuple(tuple(map(bits, row)) for row in flags),
        environment=environment(str(images.labels.device)),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _validate_targets(targets: Sequence[EvalTarget]) -> None:
    """Refuse models on other images or under another threat model, and one named twice."""
    first, names = targets[0], set()
    for target in targets:
        model, data = target.metadata.model, target.metadata.data
        if (data, target.threat_model) != (first.metadata.data, first.threat_model):
            raise ZooError(
                f"{first.metadata.model} is judged on {first.metadata.data} under "
                f"{first.threat_model} and {model} on {data} under {target.threat_model}; "
                "a matrix needs one data set and threat model."
            )
        if model in names:
            raise ZooError(f"Model '{model}' is named twice; name each model once.")
        names.add(model)


def write(matrix: TransferMatrix, folder: Path) -> None:
    """Write matrix.json, matrix.csv and matrix.png into a folder."""
    write_json(folder / "matrix.json", matrix.to_dict())
    write_text(folder / "matrix.csv", matrix.to_csv())
    save(heat_map(matrix), folder / "matrix.png")


def heat_map(matrix: TransferMatrix) -> Figure:
    """Draw the accuracies."""
    values = [[rate.accuracy for rate in row] for row in matrix.accuracies()]
    terms = f"{matrix.threat_model.norm} {matrix.threat_model.epsilon}, n = {matrix.data.n:,}"
    title = f"accuracy (%) under {heading(matrix.attack['name'])} ({matrix.data.name}, {terms})"
    return accuracy.heat_map(matrix.models, matrix.models, values, title)


def read(path: Path) -> TransferMatrix:
    """Read a matrix that `write` wrote.

    Raises:
        ZooError: not such a file.
    """
    return read_json(path, TransferMatrix, "transfer matrix")
