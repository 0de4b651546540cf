"""How each number of a paper's table is measured with the weights that exist."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from robnet_zoo.data import Dataset, dataset_info
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import file_name
from robnet_zoo.threat_models import Epsilon, ThreatModel, get_threat_model
from robnet_zoo.zoo.protocols import Column, Protocol, Row
from robnet_zoo.zoo.weights import CONFIG, Weights, installed_weights, read_weights

NO_WEIGHTS = "no weights"
NO_DATA = "no images of"
Folders = Mapping[str, Path]
OWN_DATA = ("{data}", "{data}-mini")  # tags of weights for a table's own data set
STAND_IN = "digits"  # in place of a data set that there are no weights for


@dataclass(frozen=True, kw_only=True)
class ProtocolRun:
    """One evaluation: weights by name, the threat model, and a step that is not its own."""

    weights: str
    threat_model: ThreatModel
    step: str | None

    @property
    def file(self) -> str:
        """File name of its record."""
        words = f"{self.weights} {self.threat_model} {self.step or ''}"
        return f"{file_name(words.strip())}.json"


@dataclass(frozen=True, kw_only=True)
class CellPlan:
    """How a cell is measured: by which run and attack; or why it is not.

    `passed_over` names weights that would come first, if their images were here.
    """

    run: ProtocolRun | None = None
    attack: str = ""
    missing: str = ""
    passed_over: tuple[str, ...] = ()


def weights_folders(extra: Path | None = None) -> dict[str, Path]:
    """Return name -> folder of installed weights and of those in an extra folder.

    Raises:
        ZooError: the extra folder holds no weights.
    """
    if extra is None:
        return installed_weights()
    folders = {path.parent.name: path.parent for path in sorted(extra.glob(f"*.*/{CONFIG}"))}
    if not folders:
        raise ZooError(f"'{extra}' holds no weights; name a folder of folders such as racl.digits.")
    return {**installed_weights(), **folders}


def candidates(protocol: Protocol, row: Row, column: Column) -> dict[str, str]:
    """Return the names of weights that a cell can be measured with, the best first, with tags."""
    if row.model is None:
        return {}
    variant = "".join(f"-{part}" for part in (row.weights, column.weights) if part)
    tags = [tag.format(data=column.dataset or protocol.dataset) for tag in OWN_DATA]
    tags += [STAND_IN] if column.dataset is None else []
    return {f"{row.model}.{tag}{variant}": tag for tag in tags}


def datasets(protocol: Protocol, folders: Folders) -> list[str]:
    """Return the data sets of all weights at hand that a table can be measured with."""
    names = [
        name
        for row in protocol.rows
        for column in protocol.columns
        for name in candidates(protocol, row, column)
        if name in folders
    ]
    return list(dict.fromkeys(read_weights(folders[name]).dataset for name in dict.fromkeys(names)))


def plan_cell(
    protocol: Protocol,
    row: Row,
    column: Column,
    folders: Folders,
    absent: Collection[str] = (),
) -> CellPlan:
    """Return how a cell is measured with the weights at hand, or why it is not.

    Args:
        protocol: the table.
        row: of the cell.
        column: of the cell.
        folders: the weights at hand by name.
        absent: data sets whose images are not here.
    """
    if row.model is None:
        return CellPlan(missing=row.missing or "")
    names = candidates(protocol, row, column)
    at_hand = {name: read_weights(folders[name]) for name in names if name in folders}
    if not at_hand:
        return CellPlan(missing=f"{NO_WEIGHTS} {' or '.join(names)}")
    passed_over = [name for name, weights in at_hand.items() if weights.dataset in absent]
    name = next((name for name in at_hand if name not in passed_over), None)
    if name is None:
        first = at_hand[passed_over[0]]
        return CellPlan(missing=f"{NO_DATA} {first.dataset} for {first.name}")
    attack = column.attack
    if column.origin is not None:
        source = f"{name}-copy" if column.origin == "copy" else f"{column.origin}.{names[name]}"
        if source not in folders:
            return CellPlan(missing=f"{NO_WEIGHTS} {source}")
        attack = f"transfer:{_model_name(source, folders)}:{attack}"
    threat_model = threat_of(protocol, column, at_hand[name])
    run = ProtocolRun(weights=name, threat_model=threat_model, step=column.step)
    better = list(at_hand)[: list(at_hand).index(name)]
    return CellPlan(run=run, attack=attack, passed_over=tuple(better))


def _model_name(name: str, folders: Folders) -> str:
    """Return what `create_model` takes for weights by name."""
    return name if installed_weights().get(name) == folders[name] else f"local-dir:{folders[name]}"


def threat_of(protocol: Protocol, column: Column, weights: Weights) -> ThreatModel:
    """Return the threat model of a cell: the paper's, scaled where another data set stands in."""
    paper = published_threat(protocol, column)
    wanted = column.dataset or protocol.dataset
    if weights.dataset == wanted:
        return paper
    usual, own = get_threat_model(wanted), get_threat_model(weights.dataset)
    if paper == usual:
        return own
    scale = own.epsilon.value / usual.epsilon.value
    if paper.norm == "L2":  # whose balls grow with the number of pixels
        scale *= math.sqrt(_pixels(dataset_info(weights.dataset)) / _pixels(dataset_info(wanted)))
    return own.at(f"{paper.epsilon.value * scale:.4g}", paper.norm)


def published_threat(protocol: Protocol, column: Column) -> ThreatModel:
    """Return what the attacker could do in the paper."""
    usual = get_threat_model(column.dataset or protocol.dataset)
    size = column.epsilon or (usual.epsilon.text if column.dataset else protocol.epsilon)
    norm = column.norm or "Linf"
    return usual if (size, norm) == (usual.epsilon.text, usual.norm) else usual.at(size, norm)


def _pixels(dataset: Dataset) -> int:
    return dataset.in_channels * dataset.image_size**2


def step_of(step: str, threat_model: ThreatModel) -> Epsilon:
    """Return the length of a step that is written as a part of epsilon, such as "epsilon/10"."""
    divisor = Epsilon.parse(step.removeprefix("epsilon/"), "step").value
    return Epsilon.parse(f"{threat_model.epsilon.value / divisor:.6g}")
