"""`python -m robnet_zoo.search robnet analyse`: the paper's figures, of a study of one's own."""

from __future__ import annotations

import argparse
from pathlib import Path

from robnet_zoo.search.robnet.analysis.correlation import in_lines
from robnet_zoo.search.robnet.analysis.figures import FIGURES, available, make_figure


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "studies",
        type=Path,
        nargs="+",
        metavar="STUDY_DIR",
        help="folder with study.csv or candidates.csv; several are analysed together",
    )
    parser.add_argument(
        "--figure",
        default="all",
        choices=["all", *FIGURES],
        help="which figure to make (default: all that the folder has numbers for)",
    )
    parser.add_argument("--out", type=Path, help="default: STUDY_DIR/analysis")


def run(options: argparse.Namespace) -> None:
    """Make the figures and print their findings."""
    folders: list[Path] = options.studies
    out = options.out or folders[0] / "analysis"
    names = [options.figure] if options.figure != "all" else available(folders)
    for name in names:
        findings = make_figure(name, folders, out)
        paper = FIGURES[name].paper
        print(f"{name} ({f'Fig. {paper}' if paper else 'not in the paper'})")
        for line in in_lines(findings):
            print(f"  {line}")
    print(f"written to {out}")
