import csv
import json

import pytest
import torch
from helpers.made_records import make
from msgspec.structs import replace

from robnet_zoo.data import load_split
from robnet_zoo.eval import record
from robnet_zoo.eval.__main__ import main
from robnet_zoo.eval.studies.comparison import compare
from robnet_zoo.eval.studies.differences import differences
from robnet_zoo.runtime.errors import ZooError


def with_verdicts(made, name, verdicts):
    attacks = [
        replace(attack, verdicts=verdicts) if attack.name == name else attack
        for attack in made.attacks
    ]
    return replace(made, attacks=tuple(attacks))


def with_attack_setting(made, name, **settings):
    attacks = [
        replace(a, settings=a.settings | settings) if a.name == name else a for a in made.attacks
    ]
    return replace(made, attacks=tuple(attacks))


def with_images(made, n, sha256):
    return replace(made, data=replace(made.data, n=n, sha256=sha256))


def test_pairs_are_counted_image_by_image_and_not_by_totals():
    first = with_verdicts(make(n=8, clean=6, pgd20=4), "pgd20", "01110000")
    second = with_verdicts(make(n=8, clean=8, pgd20=4), "pgd20", "11001000")
    clean, pgd = compare(first, second).rows
    assert (clean.only_first, clean.only_second) == ((), (6, 7))
    assert (pgd.only_first, pgd.only_second) == ((2, 3), (0, 4))
    assert pgd.paired.difference == 0
    assert (pgd.paired.only_first, pgd.paired.only_second) == (2, 2)
    assert clean.paired.difference == -0.25


def test_all_attacks_are_those_that_both_were_judged_under():
    first = make(pgd20=100, square=90, cw=10)
    second = make(name="arnas.digits", pgd20=80, square=95)
    compared = compare(first, second)
    assert [row.name for row in compared.rows] == ["clean", "pgd20", "square", "all shared"]
    assert compared.rows[-1].first.correct == 90  # without cw, which second never met
    assert "only racl.digits was judged under cw" in compared.notes
    assert compare(first, first).rows[-1].name == "all attacks"
    assert compare(first, first).notes == ()


def test_what_differs_beside_the_models_is_noted():
    first = with_attack_setting(make(pgd20=100), "pgd20", restarts=1)
    second = with_attack_setting(make(pgd20=80), "pgd20", restarts=5)
    second = replace(second, settings=replace(second.settings, seed=3, batch_size=7))
    failed = replace(second.checks[0], name="deterministic", passed=False)
    second = replace(second, checks=(failed,))
    assert compare(first, second).notes == (
        "seed: 0 against 3",
        "pgd20 restarts: 1 against 5",
        "checks of racl.digits failed: deterministic",
    )


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (make(pgd20=1, epsilon="0.1"), "different threat models, Linf 0.15 and Linf 0.1,"),
        (with_images(make(pgd20=1), 200, "e" * 64), "not of the same images .*eeeeeeee"),
    ],
)
def test_what_cannot_be_compared_is_refused(other, message):
    with pytest.raises(ZooError, match=message):
        compare(make(pgd20=1), other)


def test_a_beginning_of_the_images_is_compared_where_it_can_be_shown_to_be_one():
    _, split = load_split("digits", "test")
    prints = {n: split.subset(torch.arange(n)).fingerprint for n in (40, 60)}
    long = with_images(make(n=60, clean=50, pgd20=30), 60, prints[60])
    short = with_images(make(n=40, clean=40, pgd20=40), 40, prints[40])
    compared = compare(long, short)
    assert compared.n == 40
    assert compared.rows[1].only_second == tuple(range(30, 40))
    assert compared.notes == ("only the first 40 of 60 images are compared",)
    with pytest.raises(ZooError, match="40 images of the record"):
        compare(long, with_images(short, 40, "f" * 64))
    unknown = [replace(it, data=replace(it.data, name="tensors")) for it in (long, short)]
    with pytest.raises(ZooError, match="'tensors' cannot be read to show"):
        compare(*unknown)


def test_every_setting_that_differs_is_found():
    first = with_attack_setting(make(pgd20=100), "pgd20", parts=[{"name": "x", "steps": 1}])
    second = with_attack_setting(
        make(epsilon="0.1", pgd20=80), "pgd20", parts=[{"name": "x", "steps": 2}]
    )
    found = {it.setting: (it.first, it.second) for it in differences(first, second)}
    assert found["epsilon"] == (0.15, 0.1)
    assert found["pgd20 parts x steps"] == (1, 2)
    assert set(found) == {"epsilon", "step", "pgd20 parts x steps"}
    names = {it.setting for it in differences(make(pgd20=1), make(fgsm=1))}
    assert names == {"attacks"}  # the settings beside the names are the same: none


def test_the_command_shows_and_writes_the_comparison(run_eval, tmp_path):
    record.write(make(pgd20=100, fgsm=150), tmp_path / "a.json")
    record.write(make(name="arnas.digits", pgd20=60, fgsm=140), tmp_path / "b.json")
    code, out, _ = run_eval("compare", "a.json", "b.json", "--list", "--out", "c.csv")
    assert code == 0
    for text in ("racl.digits", "arnas.digits", "+20.00", "all attacks", "fgsm, A only: 140, 141,"):
        assert text in out
    rows = list(csv.DictReader((tmp_path / "c.csv").open()))
    assert [row["attack"] for row in rows] == ["clean", "pgd20", "fgsm", "all attacks"]
    assert len(rows[1]["images_only_first"].split()) == int(rows[1]["only_first"]) == 40
    assert main(["compare", "a.json", "b.json", "--out", "c.json"]) == 0
    written = json.loads((tmp_path / "c.json").read_text())
    assert written["schema"] == "robnet_zoo.paired/1"
    assert written["rows"][1]["only_first"] == list(range(60, 100))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("a.json", "a.json", "--out", "c.txt"), "must end in .json or .csv"),
        (("a.json", "none.json"), "Cannot read the record 'none.json'"),
    ],
)
def test_mistakes_get_one_sentence(run_eval, tmp_path, words, message):
    record.write(make(pgd20=100), tmp_path / "a.json")
    code, out, err = run_eval("compare", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_targeted_attacks_of_older_records_are_compared_as_what_they_are():
    old = with_attack_setting(make(pgd20=150), "pgd20", targeted=True)  # said in settings alone
    other = with_attack_setting(make(name="arnas.digits", pgd20=140), "pgd20", targeted=True)
    assert [row.name for row in compare(old, other).rows] == ["clean", "pgd20-targeted"]
    plain = compare(old, make(name="arnas.digits", pgd20=140))
    assert [row.name for row in plain.rows] == ["clean"]
    assert "only racl.digits was judged under pgd20-targeted" in plain.notes
