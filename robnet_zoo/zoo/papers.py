"""The papers that the architectures come from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Paper:
    """Where an architecture was published.

    Attributes:
        title: of the paper.
        authors: in a few words.
        year: of publication.
        arxiv: its number there; empty if it is not there.
        venue: of publication, with the year, for a paper that is not on arXiv.
        url: where it can be read, for the same.
    """

    title: str
    authors: str
    year: int
    arxiv: str = ""
    venue: str = ""
    url: str = ""

    @property
    def place(self) -> str:
        """Where the paper appeared: its number on arXiv, or the venue."""
        return f"arXiv:{self.arxiv}" if self.arxiv else self.venue

    @property
    def link(self) -> str:
        """The address of the paper."""
        return f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else self.url

    @property
    def short(self) -> str:
        """The paper in a few words, for tables and captions."""
        by = f"{self.authors} {self.year}" if self.arxiv else self.authors
        return f"{by}, {self.place}"

    def __str__(self) -> str:
        if self.arxiv:
            return f"{self.authors}: {self.title} ({self.year}), {self.place}"
        return f"{self.authors}: {self.title} ({self.venue})"


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
E2RNAS = Paper(
    "Effective, Efficient and Robust Neural Architecture Search",
    "Yue et al.",
    2022,
    venue="IJCNN 2022",
    url="https://deepai.org/publication/effective-efficient-and-robust-neural-architecture-search",
)
RNAS = Paper("Robust Neural Architecture Search", "Zhu et al.", 2023, "2304.02845")
LRNAS = Paper(
    "LRNAS: Differentiable Searching for Adversarially Robust Lightweight Neural Architecture",
    "Feng et al.",
    2024,
    venue="IEEE TNNLS 2024",
    url="https://github.com/fyqsama/LRNAS",
)
REP = Paper(
    "REP: An Interpretable Robustness Enhanced Plugin for Differentiable Neural Architecture "
    "Search",
    "Feng et al.",
    2025,
    venue="IEEE TKDE 2025",
    url="https://openreview.net/forum?id=zMdppjqTKn",
)
RNTK = Paper(
    "Zero-cost Proxy for Adversarial Robustness Evaluation",
    "Feng et al.",
    2025,
    venue="ICLR 2025",
    url="https://iclr.cc/virtual/2025/poster/27675",
)
TRNAS = Paper(
    "TRNAS: A Training-Free Robust Neural Architecture Search",
    "Yang et al.",
    2025,
    venue="ICCV 2025",
    url="https://openaccess.thecvf.com/content/ICCV2025/html/"
    "Yang_TRNAS_A_Training-Free_Robust_Neural_Architecture_Search_ICCV_2025_paper.html",
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
