"""Every architecture of the zoo as a row: its paper, genotype or builder, and default arguments.

Importing this module does not import torch. What follows from the rows is written by
`scripts/architectures.py`: numbers of parameters, which listing needs, and drawings of the cells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robnet_zoo.genotypes import Genotype, published
from robnet_zoo.runtime.decode import Count, read_json
from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.zoo.papers import (
    ADVRUSH,
    AMOEBANET,
    ARNAS,
    DARTS,
    DENSENET,
    DSRNA,
    E2RNAS,
    LRNAS,
    NASNET,
    P_DARTS,
    PC_DARTS,
    RACL,
    REP,
    RESNET,
    RNAS,
    RNTK,
    ROBNET,
    TRNAS,
    VGG,
    WRN,
    Paper,
)

if TYPE_CHECKING:
    from torch import nn

PARAMETERS = Path(__file__).with_name("parameters.json")


@dataclass(frozen=True)
class Architecture:
    """A named architecture with its default arguments.

    Attributes:
        name: what `create_model` takes.
        paper: where it comes from.
        genotype: what it is built from, or its name among those of the package; None if it has
            a builder.
        builder: what builds it from keyword arguments of its own, num_classes and in_channels
            among them; None if it has a genotype.
        arguments: what it is built with unless overridden.
        dataset: what its paper trains it on at this size.
        unpublished: why no paper has numbers for it; empty where `zoo.protocols` has some.
        parameters: trainable ones at the default arguments, without an auxiliary head.
    """

    name: str
    paper: Paper
    genotype: str | Genotype | None = None
    builder: Callable[..., nn.Module] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    dataset: str = "cifar10"
    unpublished: str = ""
    parameters: int = 0

    @property
    def status(self) -> str:
        """The genotype's status, such as "published", or "human-designed"."""
        genotype = self.read_genotype()
        return genotype.status if genotype else "human-designed"

    def read_genotype(self) -> Genotype | None:
        """Return the genotype; None for human-designed networks."""
        return published(self.genotype) if isinstance(self.genotype, str) else self.genotype


def _cells(channels: int, layers: int, num_classes: int = 10) -> dict[str, Any]:
    return {"channels": channels, "layers": layers, "num_classes": num_classes}


def _baseline(name: str) -> Callable[..., nn.Module]:
    def build(
        *,
        num_classes: int = 10,
        in_channels: int = 3,
        channels: int | None = None,
        denoise: bool = False,
    ) -> nn.Module:
        from robnet_zoo.models.baselines import build_baseline

        return build_baseline(
            name,
            num_classes=num_classes,
            in_channels=in_channels,
            channels=channels,
            denoise=denoise,
        )

    return build


_OWN_CELL = "none: the paper published no cells; this one was searched here, on digits"
_NOT_COMPARED = "its own paper's tables, which are not transcribed here"
_ROWS = (
    Architecture("robnet_small", ROBNET, "robnet_small", arguments=_cells(36, 20)),
    Architecture("robnet_medium", ROBNET, "robnet_medium", arguments=_cells(36, 20)),
    Architecture("robnet_large", ROBNET, "robnet_large", arguments=_cells(36, 20)),
    Architecture("robnet_large_v2", ROBNET, "robnet_large", arguments=_cells(64, 33)),
    Architecture("robnet_free", ROBNET, "robnet_free", arguments=_cells(36, 20)),
    Architecture(
        "robnet_large_imagenet",
        ROBNET,
        "robnet_large",
        arguments=_cells(48, 20, 1000) | {"stem": "imagenet"},
        dataset="imagenet",
        unpublished="the authors' ImageNet network; no size in the paper's main text",
    ),
    Architecture("racl", RACL, "racl", arguments=_cells(36, 20)),
    Architecture(
        "arnas", ARNAS, "arnas", arguments=_cells(64, 20), unpublished="see the paper's tables"
    ),
    Architecture(
        "arnas_tiny_imagenet",
        ARNAS,
        "arnas",
        arguments=_cells(84, 14, 200),
        dataset="tiny-imagenet",
        unpublished="the CIFAR-10 cells at the paper's Tiny-ImageNet size; see its tables",
    ),
    Architecture("dsrna_cb", DSRNA, "dsrna_cb", arguments=_cells(36, 20), unpublished=_OWN_CELL),
    Architecture(
        "dsrna_jacobian", DSRNA, "dsrna_jacobian", arguments=_cells(36, 20), unpublished=_OWN_CELL
    ),
    Architecture(
        "dsrna_combined", DSRNA, "dsrna_combined", arguments=_cells(36, 20), unpublished=_OWN_CELL
    ),
    Architecture("darts_v2", DARTS, "darts_v2", arguments=_cells(36, 20)),
    Architecture("pc_darts", PC_DARTS, "pc_darts", arguments=_cells(36, 20)),
    Architecture(
        "p_darts",
        P_DARTS,
        "p_darts",
        arguments=_cells(36, 20),
        unpublished="no adversarially trained numbers in the papers compared with",
    ),
    Architecture("nasnet_a", NASNET, "nasnet_a", arguments=_cells(36, 20)),
    Architecture("amoebanet_a", AMOEBANET, "amoebanet_a", arguments=_cells(36, 20)),
    Architecture("advrush", ADVRUSH, "advrush", arguments=_cells(36, 20)),
    Architecture("e2rnas", E2RNAS, "e2rnas", arguments=_cells(36, 20), unpublished=_NOT_COMPARED),
    Architecture("rnas", RNAS, "rnas", arguments=_cells(36, 20), unpublished=_NOT_COMPARED),
    Architecture("lrnas", LRNAS, "lrnas", arguments=_cells(36, 20), unpublished=_NOT_COMPARED),
    Architecture("rep_pgd", REP, "rep_pgd", arguments=_cells(36, 20), unpublished=_NOT_COMPARED),
    Architecture("rep_fgsm", REP, "rep_fgsm", arguments=_cells(36, 20), unpublished=_NOT_COMPARED),
    Architecture(
        "rep_darts", REP, "rep_darts", arguments=_cells(36, 20), unpublished=_NOT_COMPARED
    ),
    Architecture(
        "rep_pdarts", REP, "rep_pdarts", arguments=_cells(36, 20), unpublished=_NOT_COMPARED
    ),
    Architecture(
        "rep_pcdarts", REP, "rep_pcdarts", arguments=_cells(36, 20), unpublished=_NOT_COMPARED
    ),
    Architecture("rntk", RNTK, "rntk", arguments=_cells(36, 20), unpublished=_NOT_COMPARED),
    Architecture("trnas", TRNAS, "trnas", arguments=_cells(36, 20), unpublished=_NOT_COMPARED),
    Architecture("resnet18", RESNET, builder=_baseline("resnet18"), arguments={"num_classes": 10}),
    Architecture("resnet50", RESNET, builder=_baseline("resnet50"), arguments={"num_classes": 10}),
    Architecture("wrn_28_10", WRN, builder=_baseline("wrn_28_10"), arguments={"num_classes": 10}),
    Architecture(
        "densenet121", DENSENET, builder=_baseline("densenet121"), arguments={"num_classes": 10}
    ),
    Architecture(
        "vgg19",
        VGG,
        builder=_baseline("vgg19"),
        arguments={"num_classes": 10},
        unpublished="the source of the RACL paper's black-box attacks (Table 2)",
    ),
)


def _counted(row: Architecture, counts: Mapping[str, int]) -> Architecture:
    return replace(row, parameters=counts.get(row.name, 0))


_COUNTS = read_json(PARAMETERS, dict[str, Count], "numbers of parameters")
ARCHITECTURES: dict[str, Architecture] = {row.name: _counted(row, _COUNTS) for row in _ROWS}


def dimensions(arguments: Mapping[str, Any]) -> str:
    """Write a network's size as "36 x 20", channels by cells; "64" or "-" where it has neither."""
    sizes = [str(arguments[key]) for key in ("channels", "layers") if key in arguments]
    return " x ".join(sizes) or "-"


def get_architecture(name: str) -> Architecture:
    """Return an architecture's row.

    Raises:
        ZooError: there is none of that name; the nearest ones are shown.
    """
    if name not in ARCHITECTURES:
        raise unknown_model(name)
    return ARCHITECTURES[name]


def unknown_model(name: str) -> ZooError:
    """Return the error for a name that no architecture has."""
    if "/" in name:
        return ZooError(f"Unknown model '{name}'; write hf-hub:{name} or local-dir:{name}.")
    return unknown_name("model", name, ARCHITECTURES)
