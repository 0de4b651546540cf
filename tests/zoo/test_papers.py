"""The papers: how they are named and cited, and that CITATION.cff cites all of them."""

import re
from pathlib import Path

import yaml

import robnet_zoo
from robnet_zoo.cli.main import main
from robnet_zoo.zoo import papers
from robnet_zoo.zoo.architectures import ARCHITECTURES

ROOT = Path(__file__).parents[2]


def test_many_authors_are_the_first_and_others():
    assert papers.ROBNET.by == "Guo et al."
    assert papers.ARNAS.by == "Ou, Feng and Sun"
    assert papers.WRN.by == "Zagoruyko and Komodakis"
    assert papers.LRNAS.short == "Feng et al., IEEE TNNLS 2024"
    assert papers.RACL.short == "Dong et al. 2020, arXiv:2009.00902"


def test_info_ends_with_an_entry_to_cite(capsys):
    assert main(["info", "racl"]) == 0
    assert (
        capsys.readouterr()
        .out.rstrip()
        .endswith(
            """@misc{dong2020adversarially,
  title = {{Adversarially Robust Neural Architectures}},
  author = {Minjing Dong and Yanxi Li and Yunhe Wang and Chang Xu},
  year = {2020},
  eprint = {2009.00902},
  archiveprefix = {arXiv},
}"""
        )
    )


def test_entries_to_cite_have_keys_of_their_own_and_say_where_to_read():
    every = {architecture.paper for architecture in ARCHITECTURES.values()}
    entries = [paper.bibtex for paper in every]
    assert len({entry.split(",")[0] for entry in entries}) == len(every)
    for paper, entry in zip(every, entries, strict=True):
        assert paper.arxiv in entry if paper.arxiv else f"url = {{{paper.url}}}" in entry


def test_citation_cites_every_paper_and_agrees_with_the_changelog():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    cited = {
        reference["title"]: (
            tuple(f"{a['given-names']} {a['family-names']}" for a in reference["authors"]),
            reference["year"],
        )
        for reference in citation["references"]
    }
    every = {architecture.paper for architecture in ARCHITECTURES.values()}
    assert cited == {paper.title: (paper.authors, paper.year) for paper in every}
    assert citation["version"] == robnet_zoo.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text()
    version, date = re.findall(r"^## ([\d.]+) - (.+)$", changelog, re.MULTILINE)[0]
    assert version == citation["version"]
    assert str(citation.get("date-released", "not released")) == date
