"""The papers that the architectures come from."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Paper:
    """Where an architecture was published.

    Attributes:
        title: of the paper.
        authors: all of them, given names first.
        year: of publication.
        arxiv: its number there; empty if it is not there.
        venue: conference or journal, without the year; empty if it is on arXiv alone.
        journal: whether the venue is one.
        url: where it can be read, for a paper that is not on arXiv.
    """

    title: str
    authors: tuple[str, ...]
    year: int
    arxiv: str = ""
    venue: str = ""
    journal: bool = False
    url: str = ""

    @property
    def by(self) -> str:
        """Family names of the authors; of more than three, the first one's."""
        names = [name.split()[-1] for name in self.authors]
        if len(names) > 3:
            return f"{names[0]} et al."
        return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)

    @property
    def place(self) -> str:
        """Where the paper is found: its number on arXiv, or the venue."""
        return f"arXiv:{self.arxiv}" if self.arxiv else f"{self.venue} {self.year}"

    @property
    def link(self) -> str:
        """The address of the paper."""
        return f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else self.url

    @property
    def short(self) -> str:
        """The paper in a few words, for tables and captions."""
        by = f"{self.by} {self.year}" if self.arxiv else self.by
        return f"{by}, {self.place}"

    @property
    def bibtex(self) -> str:
        """The paper as an entry of BibTeX."""
        name = self.authors[0].split()[-1].lower()
        word = re.split(r"[^A-Za-z0-9]", self.title, maxsplit=1)[0].lower()
        kind = "article" if self.journal else "inproceedings" if self.venue else "misc"
        fields = {
            "title": f"{{{self.title}}}",
            "author": " and ".join(self.authors),
            "year": str(self.year),
        }
        if self.venue:
            fields["journal" if self.journal else "booktitle"] = self.venue
        if self.arxiv:
            fields |= {"eprint": self.arxiv, "archiveprefix": "arXiv"}
        else:
            fields["url"] = self.url
        lines = "".join(f"  {key} = {{{value}}},\n" for key, value in fields.items())
        return f"@{kind}{{{name}{self.year}{word},\n{lines}}}"

    def __str__(self) -> str:
        if self.arxiv:
            return f"{self.by}: {self.title} ({self.year}), {self.place}"
        return f"{self.by}: {self.title} ({self.place})"


ROBNET = Paper(
    "When NAS Meets Robustness: In Search of Robust Architectures against Adversarial Attacks",
    ("Minghao Guo", "Yuzhe Yang", "Rui Xu", "Ziwei Liu", "Dahua Lin"),
    2020,
    "1911.10695",
    venue="CVPR",
)
RACL = Paper(
    "Adversarially Robust Neural Architectures",
    ("Minjing Dong", "Yanxi Li", "Yunhe Wang", "Chang Xu"),
    2020,
    "2009.00902",
)
ARNAS = Paper(
    "Towards Accurate and Robust Architectures via Neural Architecture Search",
    ("Yuwei Ou", "Yuqi Feng", "Yanan Sun"),
    2024,
    "2405.05502",
    venue="CVPR",
)
DSRNA = Paper(
    "DSRNA: Differentiable Search of Robust Neural Architectures",
    ("Ramtin Hosseini", "Xingyi Yang", "Pengtao Xie"),
    2021,
    "2012.06122",
    venue="CVPR",
)
DARTS = Paper(
    "DARTS: Differentiable Architecture Search",
    ("Hanxiao Liu", "Karen Simonyan", "Yiming Yang"),
    2019,
    "1806.09055",
    venue="ICLR",
)
PC_DARTS = Paper(
    "PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search",
    (
        "Yuhui Xu",
        "Lingxi Xie",
        "Xiaopeng Zhang",
        "Xin Chen",
        "Guo-Jun Qi",
        "Qi Tian",
        "Hongkai Xiong",
    ),
    2020,
    "1907.05737",
    venue="ICLR",
)
P_DARTS = Paper(
    "Progressive Differentiable Architecture Search: Bridging the Depth Gap between Search "
    "and Evaluation",
    ("Xin Chen", "Lingxi Xie", "Jun Wu", "Qi Tian"),
    2019,
    "1904.12760",
    venue="ICCV",
)
NASNET = Paper(
    "Learning Transferable Architectures for Scalable Image Recognition",
    ("Barret Zoph", "Vijay Vasudevan", "Jonathon Shlens", "Quoc V. Le"),
    2018,
    "1707.07012",
    venue="CVPR",
)
AMOEBANET = Paper(
    "Regularized Evolution for Image Classifier Architecture Search",
    ("Esteban Real", "Alok Aggarwal", "Yanping Huang", "Quoc V. Le"),
    2019,
    "1802.01548",
    venue="AAAI",
)
ADVRUSH = Paper(
    "AdvRush: Searching for Adversarially Robust Neural Architectures",
    ("Jisoo Mok", "Byunggook Na", "Hyeokjun Choe", "Sungroh Yoon"),
    2021,
    "2108.01289",
    venue="ICCV",
)
E2RNAS = Paper(
    "Effective, Efficient and Robust Neural Architecture Search",
    ("Zhixiong Yue", "Baijiong Lin", "Yu Zhang", "Christy Liang"),
    2022,
    venue="IJCNN",
    url="https://deepai.org/publication/effective-efficient-and-robust-neural-architecture-search",
)
RNAS = Paper(
    "Robust Neural Architecture Search",
    ("Xunyu Zhu", "Jian Li", "Yong Liu", "Weiping Wang"),
    2023,
    "2304.02845",
)
LRNAS = Paper(
    "LRNAS: Differentiable Searching for Adversarially Robust Lightweight Neural Architecture",
    ("Yuqi Feng", "Zeqiong Lv", "Hongyang Chen", "Shangce Gao", "Fengping An", "Yanan Sun"),
    2024,
    venue="IEEE TNNLS",
    journal=True,
    url="https://github.com/fyqsama/LRNAS",
)
REP = Paper(
    "REP: An Interpretable Robustness Enhanced Plugin for Differentiable Neural Architecture "
    "Search",
    ("Yuqi Feng", "Yanan Sun", "Gary G. Yen", "Kay Chen Tan"),
    2025,
    venue="IEEE TKDE",
    journal=True,
    url="https://openreview.net/forum?id=zMdppjqTKn",
)
RNTK = Paper(
    "Zero-cost Proxy for Adversarial Robustness Evaluation",
    ("Yuqi Feng", "Yuwei Ou", "Jiahao Fan", "Yanan Sun"),
    2025,
    venue="ICLR",
    url="https://iclr.cc/virtual/2025/poster/27675",
)
TRNAS = Paper(
    "TRNAS: A Training-Free Robust Neural Architecture Search",
    ("Yeming Yang", "Qingling Zhu", "Jianping Luo", "Ka-Chun Wong", "Qiuzhen Lin", "Jianqiang Li"),
    2025,
    venue="ICCV",
    url="https://openaccess.thecvf.com/content/ICCV2025/html/Yang_TRN"
    "AS_A_Training-Free_Robust_Neural_Architecture_Search_ICCV_2025_paper.html",
)
RESNET = Paper(
    "Deep Residual Learning for Image Recognition",
    ("Kaiming He", "Xiangyu Zhang", "Shaoqing Ren", "Jian Sun"),
    2016,
    "1512.03385",
    venue="CVPR",
)
WRN = Paper(
    "Wide Residual Networks",
    ("Sergey Zagoruyko", "Nikos Komodakis"),
    2016,
    "1605.07146",
    venue="BMVC",
)
DENSENET = Paper(
    "Densely Connected Convolutional Networks",
    ("Gao Huang", "Zhuang Liu", "Laurens van der Maaten", "Kilian Q. Weinberger"),
    2017,
    "1608.06993",
    venue="CVPR",
)
VGG = Paper(
    "Very Deep Convolutional Networks for Large-Scale Image Recognition",
    ("Karen Simonyan", "Andrew Zisserman"),
    2015,
    "1409.1556",
    venue="ICLR",
)
