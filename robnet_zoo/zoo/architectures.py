"""Every architecture of the zoo as data: its genotype, size and paper.

Nothing here builds a network; parameter counts are stored so that listing stays fast, and a test
holds each one against the built model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from robnet_zoo.runtime.errors import ZooError, unknown_name


@dataclass(frozen=True)
class Paper:
    """Where an architecture was published."""

    title: str
    authors: str
    year: int
    arxiv: str

    @property
    def short(self) -> str:
        """The paper in a few words, for tables and captions."""
        return f"{self.authors} {self.year}, arXiv:{self.arxiv}"

    def __str__(self) -> str:
        return f"{self.authors}: {self.title} ({self.year}), arXiv:{self.arxiv}"


@dataclass(frozen=True)
class Architecture:
    """A named architecture with its default arguments.

    Attributes:
        name: what `create_model` takes.
        paper: where it comes from.
        parameters: trainable parameters at the default arguments, without an auxiliary head.
        genotype: the genotype it is built from; None for human-designed networks.
        status: "published", "reconstructed", "searched here" or "human-designed".
        arguments: what it is built with unless overridden.
        unpublished: why no paper has numbers for it; empty where `zoo.protocols` has some.
    """

    name: str
    paper: Paper
    parameters: int
    genotype: str | None = None
    status: str = "published"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    unpublished: str = ""


def _cells(channels: int, layers: int, num_classes: int = 10) -> dict[str, Any]:
    return {"channels": channels, "layers": layers, "num_classes": num_classes}


ROBNET = Paper(
    "When NAS Meets Robustness: In Search of Robust Architectures against Adversarial Attacks",
    "Guo et al.",
    2020,
    "1911.10695",
)
RACL = Paper("Adversarially Robust Neural Architectures", "Dong et al.", 2020, "2009.00902")
ARNAS = Paper(
    "Towards Accurate and Robust Architectures via Neural Architecture Search",
    "Ou, Feng and Sun",
    2024,
    "2405.05502",
)
DSRNA = Paper(
    "DSRNA: Differentiable Search of Robust Neural Architectures",
    "Hosseini, Yang and Xie",
    2021,
    "2012.06122",
)
DARTS = Paper("DARTS: Differentiable Architecture Search", "Liu et al.", 2019, "1806.09055")
PC_DARTS = Paper(
    "PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search",
    "Xu et al.",
    2020,
    "1907.05737",
)
P_DARTS = Paper(
    "Progressive Differentiable Architecture Search: Bridging the Depth Gap between Search and "
    "Evaluation",
    "Chen et al.",
    2019,
    "1904.12760",
)
NASNET = Paper(
    "Learning Transferable Architectures for Scalable Image Recognition",
    "Zoph et al.",
    2018,
    "1707.07012",
)
AMOEBANET = Paper(
    "Regularized Evolution for Image Classifier Architecture Search",
    "Real et al.",
    2019,
    "1802.01548",
)
ADVRUSH = Paper(
    "AdvRush: Searching for Adversarially Robust Neural Architectures",
    "Mok et al.",
    2021,
    "2108.01289",
)
RESNET = Paper("Deep Residual Learning for Image Recognition", "He et al.", 2016, "1512.03385")
WRN = Paper("Wide Residual Networks", "Zagoruyko and Komodakis", 2016, "1605.07146")
DENSENET = Paper("Densely Connected Convolutional Networks", "Huang et al.", 2017, "1608.06993")
VGG = Paper(
    "Very Deep Convolutional Networks for Large-Scale Image Recognition",
    "Simonyan and Zisserman",
    2015,
    "1409.1556",
)

_HUMAN = "human-designed"
_SEARCHED = "searched here"
_OWN_CELL = "none: the paper published no cells; this one was searched here, on digits"

ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        Architecture(
            "robnet_small",
            ROBNET,
            4_359_574,
            "robnet_small",
            "reconstructed",
            _cells(36, 20),
        ),
        Architecture(
            "robnet_medium",
            ROBNET,
            5_614_102,
            "robnet_medium",
            "reconstructed",
            _cells(36, 20),
        ),
        Architecture(
            "robnet_large",
            ROBNET,
            6_842_710,
            "robnet_large",
            arguments=_cells(36, 20),
        ),
        Architecture(
            "robnet_large_v2",
            ROBNET,
            33_326_666,
            "robnet_large",
            arguments=_cells(64, 33),
        ),
        Architecture(
            "robnet_free",
            ROBNET,
            5_439_790,
            "robnet_free",
            arguments=_cells(36, 20),
        ),
        Architecture(
            "robnet_large_imagenet",
            ROBNET,
            12_756_448,
            "robnet_large",
            arguments=_cells(48, 20, 1000) | {"stem": "imagenet"},
            unpublished="the authors' ImageNet network; no size in the paper's main text",
        ),
        Architecture(
            "racl",
            RACL,
            3_571_174,
            "racl",
            arguments=_cells(36, 20),
        ),
        Architecture(
            "arnas",
            ARNAS,
            4_520_394,
            "arnas",
            arguments=_cells(64, 20),
            unpublished="see the paper's tables",
        ),
        Architecture(
            "arnas_tiny_imagenet",
            ARNAS,
            5_405_684,
            "arnas",
            arguments=_cells(84, 14, 200),
            unpublished="the CIFAR-10 cells at the paper's Tiny-ImageNet size; see its tables",
        ),
        Architecture(
            "dsrna_cb",
            DSRNA,
            1_513_126,
            "dsrna_cb",
            _SEARCHED,
            _cells(36, 20),
            _OWN_CELL,
        ),
        Architecture(
            "dsrna_jacobian",
            DSRNA,
            2_130_886,
            "dsrna_jacobian",
            _SEARCHED,
            _cells(36, 20),
            _OWN_CELL,
        ),
        Architecture(
            "dsrna_combined",
            DSRNA,
            1_518_526,
            "dsrna_combined",
            _SEARCHED,
            _cells(36, 20),
            _OWN_CELL,
        ),
        Architecture(
            "darts_v2",
            DARTS,
            3_349_342,
            "darts_v2",
            arguments=_cells(36, 20),
        ),
        Architecture(
            "pc_darts",
            PC_DARTS,
            3_634_678,
            "pc_darts",
            arguments=_cells(36, 20),
        ),
        Architecture(
            "p_darts",
            P_DARTS,
            3_433_798,
            "p_darts",
            arguments=_cells(36, 20),
            unpublished="no adversarially trained numbers in the papers compared with",
        ),
        Architecture(
            "nasnet_a",
            NASNET,
            3_830_950,
            "nasnet_a",
            arguments=_cells(36, 20),
        ),
        Architecture(
            "amoebanet_a",
            AMOEBANET,
            3_145_078,
            "amoebanet_a",
            arguments=_cells(36, 20),
        ),
        Architecture(
            "advrush",
            ADVRUSH,
            4_158_046,
            "advrush",
            arguments=_cells(36, 20),
        ),
        Architecture(
            "resnet18",
            RESNET,
            11_173_962,
            status=_HUMAN,
            arguments={"num_classes": 10},
        ),
        Architecture(
            "resnet50",
            RESNET,
            23_520_842,
            status=_HUMAN,
            arguments={"num_classes": 10},
        ),
        Architecture(
            "wrn_28_10",
            WRN,
            36_479_194,
            status=_HUMAN,
            arguments={"num_classes": 10},
        ),
        Architecture(
            "densenet121",
            DENSENET,
            6_956_298,
            status=_HUMAN,
            arguments={"num_classes": 10},
        ),
        Architecture(
            "vgg19",
            VGG,
            20_040_522,
            status=_HUMAN,
            arguments={"num_classes": 10},
            unpublished="the source of the RACL paper's black-box attacks (Table 2)",
        ),
    )
}


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
