"""The tables of docs/search come from the records in search, and say when they are stale."""

import json
import shutil
from pathlib import Path

import pytest

from robnet_zoo.search.__main__ import main

ROOT = Path(__file__).parents[2]
SEARCHES = ("arnas", "racl", "dsrna", "robnet", "random")


def test_the_tables_of_this_checkout_are_up_to_date():
    assert main(["tables", "--check", "--root", str(ROOT)]) == 0


@pytest.fixture
def checkout(tmp_path):
    for part in ("docs/search", *(f"search/{name}" for name in SEARCHES)):
        shutil.copytree(
            ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("*.png", "*.svg", "*.tar")
        )
    shutil.copy(ROOT / "docs" / "search.md", tmp_path / "docs")
    return tmp_path


def test_a_changed_record_makes_its_page_stale_until_it_is_written(checkout, capsys):
    record, page = checkout / "search/arnas/comparison/table.md", checkout / "docs/search/arnas.md"
    record.write_text(record.read_text().replace("| arnas | published |", "| arnas | changed |"))
    assert main(["tables", "--check", "--root", str(checkout)]) == 1
    assert "arnas.md" in capsys.readouterr().err
    assert "| arnas | changed |" not in page.read_text()
    assert main(["tables", "--root", str(checkout)]) == 0
    assert "| arnas | changed |" in page.read_text()
    assert main(["tables", "--check", "--root", str(checkout)]) == 0


def test_correlations_have_their_numbers_and_p_values(checkout):
    found = {"architectures": 12, "pearson": 0.5, "pearson_p": 0.098, "spearman": None}
    analysis = checkout / "search/robnet/mine/analysis"
    analysis.mkdir(parents=True)
    record = {"figure": "7", "cell_0": found | {"spearman_p": None}, "worth": {"direct": 1.0}}
    (analysis / "fsp.json").write_text(json.dumps(record))
    page = checkout / "docs/search/robnet.md"
    markers = "<!-- table:robnet-mine-correlations -->\n<!-- end:robnet-mine-correlations -->\n"
    page.write_text(page.read_text() + markers)
    assert main(["tables", "--root", str(checkout)]) == 0
    rows = page.read_text().splitlines()[-4:-1]
    assert rows[0].startswith("| figure | of | n |")
    assert rows[2] == "| fsp | cell_0 | 12 | 0.50 | 0.10 | - | - |"


def test_a_folder_that_is_no_checkout_is_refused(tmp_path, capsys):
    assert main(["tables", "--root", str(tmp_path)]) == 2
    assert "--root" in capsys.readouterr().err
