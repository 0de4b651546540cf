"""The papers' tables: what their files hold, and what a wrong file is told."""

import re

import pytest

from robnet_zoo.eval import get_attack
from robnet_zoo.eval.studies.protocol.plan import published_threat
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.zoo import protocols
from robnet_zoo.zoo.architectures import ARCHITECTURES

GOOD = """
title = "A paper, Table 1"
source = "Somebody 2020"
training = "PGD-7"
dataset = "cifar10"
epsilon = "8/255"
images = 10_000
columns = [{ name = "clean", attack = "clean" }, { name = "PGD-3", attack = "pgd3" }]
rows = [
    { name = "RACL", model = "racl", published = [83.89, "-"] },
    { name = "lost", missing = "it was lost", published = ["-", 1] },
]
"""


def test_every_table_of_the_papers_is_there():
    assert protocols.names() == [
        *("advrush-whitebox", "arnas-blackbox", "arnas-transfer", "arnas-whitebox", "dsrna-game"),
        *("racl-figure3", *(f"racl-table{number}" for number in range(1, 6))),
        *(f"robnet-table{number}" for number in range(1, 5)),
    ]


@pytest.mark.parametrize("name", protocols.names())
def test_their_attacks_exist_and_sources_are_cited(name):
    protocol = protocols.load(name)
    assert re.search(r"arXiv:\d{4}\.\d{5}", protocol.source)
    for column in protocol.columns:
        assert column.attack == protocols.CLEAN or get_attack(column.attack)
        assert published_threat(protocol, column).epsilon.value > 0
    assert len({column.name for column in protocol.columns}) == len(protocol.columns)


@pytest.mark.parity
@pytest.mark.parametrize(
    ("paper", "sheet"),
    [*((paper, paper) for paper in ("robnet", "racl", "arnas", "dsrna")), ("advrush", "peers")],
)
def test_published_numbers_are_those_of_the_fact_sheets(paper, sheet, shared):
    sheet = shared(f"facts/{sheet}.md").read_text()
    facts = {float(number) for number in re.findall(r"\d+\.\d+", sheet)}
    for name in (name for name in protocols.names() if name.startswith(paper)):
        for row in protocols.load(name).rows:
            assert {value for value in row.published if value is not None} <= facts


def test_numbers_stand_in_the_right_places():
    table = protocols.load("robnet-table1")
    (free,) = (row for row in table.rows if row.model == "robnet_free")
    assert dict(zip((c.name for c in table.columns), free.published, strict=True)) == {
        "clean": 82.79,
        "FGSM": 58.38,
        "PGD-20": 52.74,
        "PGD-100": 52.57,
        "DeepFool": 57.24,
        "MI-FGSM": 52.95,
    }
    matrix = protocols.load("racl-table3")
    sources = [column.origin for column in matrix.columns]
    diagonal = [row.published[sources.index(row.model)] for row in matrix.rows]
    assert diagonal == [45.59, 51.72, 49.53, 47.36, 53.29]  # white box: RACL, Table 3
    assert all(min(row.published) in diagonal for row in matrix.rows)


def test_a_good_file_is_read(tmp_path):
    path = tmp_path / "good.toml"
    path.write_text(GOOD)
    protocol = protocols.read(path)
    assert protocol.name == "good"
    assert protocol.rows[0].published == (83.89, None)
    assert protocol.rows[1].missing == "it was lost"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("title =", "titel =", "unknown field `titel`"),
        ('training = "PGD-7"', "", "missing required field `training`"),
        ("10_000", "1.5", "Expected `int | str`, got `float` - at `$.images`"),
        ('"racl"', '"rackl"', "did you mean racl"),
        ("83.89", "183.89", "<= 100.0 - at `$.rows[0].published[0]`"),
        ('[83.89, "-"]', "[83.89]", "'published' must hold 2 values"),
        ('missing = "it was lost"', 'weights = "x"', "give either 'model' or, in 'missing'"),
        ('attack = "pgd3"', 'attak = "pgd3"', "unknown field `attak` - at `$.columns[1]`"),
        (
            'attack = "pgd3"',
            'attack = "pgd3", norm = "Linfinity"',
            "Invalid enum value 'Linfinity'",
        ),
        ("columns =", "columns = 3 #", "Expected `array`, got `int` - at `$.columns`"),
        ("title", "= title", "is not TOML"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, old, new, told):
    path = tmp_path / "bad.toml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(ZooError, match=rf"bad\.toml.*{re.escape(told)}"):
        protocols.read(path)


def test_the_numbers_of_a_model_are_found_in_every_table():
    tables = [protocol.name for protocol, _ in protocols.published("racl")]
    assert tables == ["racl-figure3", *(f"racl-table{number}" for number in range(1, 6))]
    assert not protocols.published("arnas")  # whose tables say "-"


def test_published_numbers_are_written_as_text():
    assert protocols.published_text("advrush")[0] == (
        "AdvRush paper, CIFAR-10, Linf 8/255: 4.2 M, 87.30 clean, 53.07 PGD-20, 50.04 AutoAttack"
    )
    texts = protocols.published_text("robnet_large")
    assert [text.partition(",")[2].partition(",")[0] for text in texts] == [" Table 1", " Table 4"]
    assert "84.03" not in texts[1]  # with denoising blocks: another network


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_has_numbers_or_a_reason(name):
    assert bool(protocols.published_text(name)) != bool(ARCHITECTURES[name].unpublished)
