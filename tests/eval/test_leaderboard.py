import csv
import io
import json

import pytest
from helpers.made_records import make
from msgspec import structs
from msgspec.structs import replace
from rich.console import Console

from robnet_zoo.eval import record
from robnet_zoo.eval.__main__ import main
from robnet_zoo.eval.record.check import Check
from robnet_zoo.eval.reports.leaderboard import leaderboard
from robnet_zoo.eval.reports.readme import results_table
from robnet_zoo.eval.reports.tables import ROOT
from robnet_zoo.eval.reports.terminal import show
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.zoo.architectures import ARCHITECTURES

README = """# Zoo

<!-- table:models -->
old
<!-- end:models -->
between
<!-- table:digits -->
<!-- end:digits -->
after
"""


@pytest.fixture
def checkout(tmp_path):
    """A checkout with a README and three records: two models, and the natural twin of one."""
    (tmp_path / "README.md").write_text(README)
    for report in (
        make("racl.digits", 190, pgd20=140, pgd100=138, autoattack=120),
        make("pc_darts.digits", 192, pgd20=150, pgd100=149),
        make("racl.digits-natural", 196, pgd20=10),
    ):
        record.write(report, tmp_path / "eval" / "results" / f"{report.model.name}.json")
    return tmp_path


def run(checkout, *options):
    return main(["tables", "--root", str(checkout), *options])


def cells(text, start):
    (line,) = (line for line in text.splitlines() if line.startswith(f"| `{start}`"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_tables_are_written_and_then_up_to_date(checkout, capsys):
    assert run(checkout, "--check") == 1
    told = capsys.readouterr()
    assert "README.md" in told.out
    assert "leaderboard.csv" in told.out
    assert (checkout / "README.md").read_text() == README  # a check writes nothing
    assert run(checkout) == 0
    assert run(checkout, "--check") == 0
    text = (checkout / "README.md").read_text()
    assert text.startswith("# Zoo\n\n<!-- table:models -->\n")
    assert "old" not in text
    assert "<!-- end:models -->\nbetween\n<!-- table:digits -->\n" in text
    assert text.endswith("<!-- end:digits -->\nafter\n")


def test_a_changed_record_makes_them_out_of_date(checkout):
    run(checkout)
    path = checkout / "eval" / "results" / "racl.digits.json"
    record.write(make("racl.digits", 191, pgd20=140), path)
    assert run(checkout, "--check") == 1


def test_a_table_changed_by_hand_is_out_of_date(checkout):
    run(checkout)
    path = checkout / "README.md"
    path.write_text(path.read_text().replace("70.0 [", "71.0 ["))
    assert run(checkout, "--check") == 1


def test_results_stand_beside_the_natural_twin(checkout):
    run(checkout)
    text = (checkout / "README.md").read_text()
    racl = cells(text, "racl.digits")
    assert racl[1:3] == ["1,000", "95.0 [91.0, 97.3]"]
    assert racl[3].startswith("70.0 [")
    assert racl[-2].startswith("60.0 [")  # AutoAttack
    assert racl[-1] == "98.0 / 5.0"
    assert cells(text, "pc_darts.digits")[-2:] == ["-", "-"]
    assert "racl.digits-natural" not in text
    assert "first 200 test images, Linf 0.15" in text


def test_numbers_of_a_run_that_failed_a_check_are_marked(checkout):
    path = checkout / "eval" / "results" / "racl.digits.json"
    failed = Check.make("converged", False, "pgd100 broke 9 more", "quote autoattack")
    record.write(structs.replace(record.read(path), checks=(failed,)), path)
    run(checkout)
    text = (checkout / "README.md").read_text()
    racl = cells(text, "racl.digits")
    assert racl[2] == "95.0 [91.0, 97.3]"  # no attack, so the clean one stands
    assert racl[3].startswith("70.0† [")
    assert "†" not in "".join(cells(text, "pc_darts.digits"))
    sentence = "† `racl.digits` fails the check `converged`: pgd100 broke 9 more: quote autoattack."
    assert sentence in text


def test_the_models_are_all_there_with_the_papers_numbers(checkout):
    run(checkout)
    text = (checkout / "README.md").read_text()
    for name, architecture in ARCHITECTURES.items():
        assert f"{architecture.parameters:,}" in cells(text, name)
    assert cells(text, "robnet_free")[4:] == ["82.79", "52.74", "52.57", "RobNet, Table 1"]
    assert cells(text, "racl")[4:7] == ["83.89", "49.34", "49.04"]
    assert cells(text, "arnas")[4:] == ["-", "-", "-", "see the paper's tables"]
    assert cells(text, "robnet_small")[2] == "reconstructed"


def test_the_leaderboard_ranks_by_robust_accuracy(checkout):
    run(checkout)
    rows = list(csv.DictReader(io.StringIO((checkout / "eval/leaderboard.csv").read_text())))
    assert [row["model"] for row in rows] == [
        "pc_darts.digits",
        "racl.digits",
        "racl.digits-natural",
    ]
    best, second, _ = rows
    assert (best["all_attacks"], second["all_attacks"]) == ("0.7450", "0.6000")
    assert (second["clean"], second["clean_low"], second["clean_high"]) == (
        "0.9500",
        "0.9104",
        "0.9726",
    )
    assert best["autoattack"] == ""
    assert second["record"] == "results/racl.digits.json"
    header = list(best)
    assert header.index("pgd20") < header.index("pgd100") < header.index("autoattack")


def test_failed_checks_are_named_in_the_leaderboard():
    failed = Check(name="black-box", passed=False, detail="Square broke more.")
    report = replace(make(pgd20=100), checks=(failed,))
    (row,) = csv.DictReader(io.StringIO(leaderboard({"racl.digits": report})))
    assert row["failed_checks"] == "black-box"


def test_a_targeted_attack_has_a_column_of_its_own_in_older_records_too():
    made = make(pgd20=100)
    (result,) = made.attacks
    old = replace(made, attacks=(replace(result, settings={"name": "pgd20", "targeted": True}),))
    rows = csv.DictReader(io.StringIO(leaderboard({"old": old, "new": make(pgd20=90)})))
    assert {row["record"]: (row["pgd20"], row["pgd20-targeted"]) for row in rows} == {
        "results/old.json": ("", "0.5000"),
        "results/new.json": ("0.4500", ""),
    }
    assert " ".join(printed(old).split()).count("pgd20-targeted 50.00 %") == 1
    with pytest.raises(KeyError):
        old.attack("pgd20")


def printed(report):
    console = Console(width=200, file=io.StringIO())
    show(report, console)
    return console.file.getvalue()


def test_the_terminal_counts_what_had_nothing_to_look_at_apart():
    failed = Check(name="black-box", passed=False, detail="Square broke more.")
    skipped = Check.skip("card", "There is no card")
    made = make(pgd20=100)
    text = printed(replace(made, checks=(*made.checks, failed, skipped)))
    assert "checks: 1 passed, 1 failed, 1 had nothing to look at (card)" in text


def test_records_on_other_images_are_not_put_into_one_table():
    records = {
        "racl.digits": make("racl.digits", pgd20=100),
        "pc_darts.digits": make("pc_darts.digits", pgd20=100, epsilon="0.1"),
    }
    with pytest.raises(ZooError, match=r"n=200 Linf 0\.1, n=200 Linf 0\.15"):
        results_table("digits", records)


def test_other_json_records_are_passed_over(checkout):
    other = checkout / "eval" / "results" / "matrix.json"
    other.write_text(json.dumps({"schema": "robnet_zoo.transfer/1"}))
    assert run(checkout) == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("table:models", "table:modles"), "Unknown table 'modles'; did you mean models?"),
        (("<!-- end:digits -->", ""), "Table 'digits' has no end"),
    ],
)
def test_wrong_markers_are_refused(checkout, capsys, change, told):
    path = checkout / "README.md"
    path.write_text(path.read_text().replace(*change))
    assert run(checkout) == 2
    assert told in capsys.readouterr().err


def test_damaged_records_are_refused(checkout, capsys):
    (checkout / "eval" / "results" / "x.json").write_text("{")
    assert run(checkout) == 2
    assert "x.json' is not a record of this harness" in capsys.readouterr().err


def test_a_folder_that_is_no_checkout_is_refused(tmp_path, capsys):
    assert run(tmp_path) == 2
    assert "no README.md" in capsys.readouterr().err


@pytest.mark.skipif(not (ROOT / "README.md").is_file(), reason="no checkout")
def test_the_tables_of_this_checkout_are_up_to_date():
    assert run(ROOT, "--check") == 0
