"""The papers that the architectures come from."""

from __future__ import annotations

from dataclasses import dataclass


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
