"""Cheaper attacks beside AutoAttack, from records."""

import csv

import pytest
from helpers.made_records import attack, make
from msgspec.structs import replace

from robnet_zoo.eval import record
from robnet_zoo.eval.__main__ import main
from robnet_zoo.eval.record.fields import proportion_of
from robnet_zoo.eval.record.results import Part
from robnet_zoo.eval.reports.judges import summary
from robnet_zoo.eval.studies import judges

N = 200


def part(name, attacked, broken, passes):
    return Part(
        name=name,
        attacked=attacked,
        broken=broken,
        seconds=1.0,
        forwards=passes,
        backwards=passes // 2,
    )


def result(name, verdicts, **fields):
    made = attack(name, verdicts.count("1"), N, **fields)
    return replace(made, verdicts=verdicts, robust=proportion_of(verdicts))


def with_attacks(*results, **options):
    report = make(clean=180, n=N, **options)
    settings = replace(report.settings, attacks=tuple(one.name for one in results))
    return replace(report, attacks=results, settings=settings)


@pytest.fixture
def records():
    """A record of AutoAttack, and one of cheaper attacks on the same images."""
    parts = (part("apgd-ce", 180, 70, 18_000), part("apgd-t", 110, 10, 99_000))
    reference = result(
        "autoattack", "1" * 100 + "0" * 100, parts=parts, forwards=117_000, backwards=58_500
    )
    verdicts = "0" + "1" * 102 + "0" * 97  # spares 3 that AutoAttack broke, breaks one that stood
    cheap = result("cr", verdicts, forwards=9_000, backwards=8_550)
    steps = result("pgd20", "1" * 110 + "0" * 90, trace=(180, 120, 110))
    return [with_attacks(reference), with_attacks(cheap, steps)]


def test_images_that_only_one_of_them_broke_are_counted(records):
    (model,) = judges.judged(records)
    found = judges.agreement(model, "cr")
    assert (found.missed, found.more) == (3, 1)
    assert found.points == pytest.approx(100 * 2 / N)
    assert found.cost == pytest.approx(0.1)


def test_curves_count_the_passes_of_images_that_still_stand(records):
    (model,) = judges.judged(records)
    # a forward pass at the start; then a gradient of all that stood, and one more forward pass
    after_one, after_two = 2 * 180 + 180, 2 * 180 + 2 * 180 + 120
    assert judges.curve(model, "pgd20") == [(180, 180), (after_one, 120), (after_two, 110)]
    assert judges.curve(model, "autoattack") == [(27_000, 110), (27_000 + 148_500, 100)]
    assert judges.curve(model, "cr") == [(17_550, 102)]


def test_records_of_other_weights_or_sizes_are_not_put_together(records):
    reference, cheap = records
    assert not judges.judged([reference, with_attacks(*cheap.attacks, sha="b" * 64)])
    assert not judges.judged([reference, with_attacks(*cheap.attacks, epsilon="0.1")])
    assert "No records" in summary([])


def test_the_command_writes_table_and_figure(records, tmp_path, capsys):
    paths = []
    for number, report in enumerate(records):
        paths.append(str(tmp_path / f"{number}.json"))
        record.write(report, tmp_path / f"{number}.json")
    out = tmp_path / "out"
    assert main(["judges", *paths, "--out", str(out)]) == 0
    rows = list(csv.DictReader((out / "judges.csv").open()))
    by_name = {row["attack"]: row for row in rows}
    assert by_name["cr"]["broken_by_autoattack_alone"] == "3"
    assert by_name["cr"]["part_of_autoattack"] == "0.1000"
    assert float(by_name["cr"]["forwards"]) == 50.0
    assert {path.suffix for path in out.glob("judges-digits*")} == {".csv", ".png"}
    assert main(["judges", paths[1], "--out", str(out)]) == 2
    assert "evaluate one model with both" in capsys.readouterr().err


def beside_the_margin(records, name):
    """Records of a network by this name, with PGD on the margin too."""
    reference, cheap = records
    plain = [replace(cheap.attacks[0], name=name) for name in ("pgd-margin", "pgd100")]
    made = [reference, with_attacks(*cheap.attacks, *plain)]
    return judges.judged(replace(one, model=replace(one.model, name=name)) for one in made)


def test_the_summary_counts_what_was_missed(records):
    text = summary(beside_the_margin(records, "arnas.digits"))
    assert "`cr`: +1.00 points from AutoAttack on average over 1 held-out network," in text
    assert "| `arnas.digits` | 200 | 50.0 | 51.0 | 3 / 1 | 51.0 |" in text


def test_networks_that_settings_were_chosen_on_are_marked_and_not_averaged(records):
    text = summary(beside_the_margin(records, "racl.digits"))
    assert "| `racl.digits`* | 200 | 50.0 |" in text
    assert "held-out" not in text
