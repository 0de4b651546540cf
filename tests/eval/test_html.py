import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from helpers.fitted import save_fitted
from helpers.made_records import attack, make
from helpers.small_nets import DIGITS, digits, robust_net
from msgspec.structs import replace
from PIL import Image

from robnet_zoo.eval import evaluate, record
from robnet_zoo.eval.__main__ import main
from robnet_zoo.eval.record.check import Check
from robnet_zoo.eval.record.results import Part
from robnet_zoo.eval.reports import html as report
from robnet_zoo.eval.reports.examples import Example, examples, remake
from robnet_zoo.eval.studies.transfer_matrix import MatrixData, MatrixThreat, TransferMatrix
from robnet_zoo.runtime import files
from robnet_zoo.runtime.errors import ZooError

MATRIX = TransferMatrix(
    models=("a", "b"),
    models_sha256=("0", "1"),
    attack={"name": "pgd10"},
    data=MatrixData(name="digits", split="test", n=4, sha256="0"),
    threat_model=MatrixThreat(norm="Linf", epsilon="0.15"),
    seed=0,
    clean=("1111", "1111"),
    verdicts=(("1000", "1110"), ("1100", "0000")),
    environment={},
    created="",
)
VOID = {"meta", "img", "path", "use", "br", "image", "circle", "line", "rect"}


class Page(HTMLParser):
    """Holds a page's text and the addresses it would load, and sees that its tags are closed."""

    def __init__(self, html):
        super().__init__()
        self.open, self.addresses, self.words = [], [], []
        self.feed(html)
        assert not self.open
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.addresses += [
            v for k, v in attrs if k in ("src", "href", "xlink:href", "srcset") and v
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.addresses += [v for k, v in attrs if k in ("src", "href", "xlink:href") and v]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.words.append(data)


def without(reason):
    def examples(found):
        raise ZooError(reason)

    return examples


def page(*reports, matrices=()):
    return Page(report.page(reports, matrices, without("no weights here.")))


def pixels(address):
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as image:
        return np.asarray(image).astype(float) / 255


def test_a_page_says_what_was_found():
    found = page(make(pgd20=(140, (180, 150, 140)), autoattack=120))
    for told in (
        "Robustness of racl.digits",
        "1,000 parameters, genotype published; digits test, 200 of 450 images; Linf, epsilon 0.15",
        "clean accuracy 90.00 % 85.1 to 93.4",
        "85.1 to 93.4, n = 200",
        "under every attack 60.00 %",
        "n = 200; worst of pgd20, autoattack",
        "weights sha256 aaaaaaaa, seed 0",
        "200 images; accuracy: worst of all steps; last iterate: the final step alone",
        "checks passed 1 of 1",
        "pgd20 70.00 %",
        "Left out: no weights here.",
        "PGD-20 after each step",
    ):
        assert told in found.text.replace("\xa0", " ")


def test_failed_checks_and_warnings_are_shown():
    failed = Check(name="black-box", passed=False, detail="Square broke 9 more.")
    found = page(replace(make(pgd20=100), checks=(failed,), warnings=("Out of GPU memory.",)))
    assert "checks passed 0 of 1 1 failed, see below" in found.text
    text = found.text.replace("\xa0", " ")
    assert "under every attack 50.00 %†" in text and "pgd20 50.00 %†" in text
    assert "†: a check failed, see below." in text
    assert "†" not in page(make(pgd20=100)).text
    assert "black-box Square broke 9 more." in found.text
    assert "Out of GPU memory." in found.text


def test_checks_with_nothing_to_look_at_are_shown_and_not_counted_as_passed():
    nothing = Check.skip("card", "The weights come without a card")
    made = make(pgd20=100)
    found = page(replace(made, checks=(*made.checks, nothing)))
    assert "checks passed 1 of 1 none failed, 1 had nothing to look at" in found.text
    assert "card had nothing to look at. The weights come without a card." in found.text


def test_a_page_needs_nothing_from_elsewhere():
    html = report.page([make(pgd20=(140, (180, 150, 140)))], [], without("none."))
    assert all(re.match(r"data:|#", address) for address in Page(html).addresses)
    assert "url(http" not in html
    assert "@import" not in html
    assert "<script" not in html


EVIL = "<script>alert('$1$')</script>&\""


def hostile(name):
    """Return a record whose every word from outside is EVIL."""
    made = make(name, pgd20=(140, (180, 150, 140)))
    (result,) = made.attacks
    part = Part(name=EVIL, attacked=9, broken=1, seconds=1.0, forwards=1, backwards=1)
    return replace(
        made,
        model=replace(made.model, genotype_status=EVIL, arguments={EVIL: EVIL}),
        data=replace(made.data, name=EVIL, split=EVIL),
        threat_model=replace(made.threat_model, epsilon=EVIL, step=EVIL),
        settings=replace(made.settings, attacks=(EVIL,)),
        attacks=(replace(result, name=EVIL, settings={EVIL: EVIL}, parts=(part,)),),
        totals=replace(made.totals, per_class=(replace(made.totals.per_class[0], name=EVIL),)),
        checks=tuple(Check(name=EVIL, passed=passed, detail=EVIL) for passed in (True, False)),
        warnings=(EVIL,),
        environment={EVIL: EVIL},
    )


@pytest.mark.parametrize("count", [1, 2, 4])  # alone, side by side, folded away
def test_words_from_outside_cannot_break_the_page(count):
    reports = [hostile(f"{EVIL}{number}") for number in range(count)]
    matrix = replace(
        MATRIX,
        models=(EVIL, f"{EVIL}2"),
        attack={"name": EVIL},
        data=replace(MATRIX.data, name=EVIL, split=EVIL),
        threat_model=MatrixThreat(norm=EVIL, epsilon=EVIL),
    )
    html = report.page(reports, [matrix], without(EVIL))
    assert "<script" not in html
    assert f"Left out: {EVIL}" in Page(html).text


def test_words_of_examples_are_escaped():
    image = "data:image/png;base64,AAAA"
    shown = Example(
        index=0,
        label=EVIL,
        taken_for=EVIL,
        attack=EVIL,
        clean=image,
        change=image,
        adversarial=image,
        amplified=2,
    )
    html = report.page([make(pgd20=1)], [], lambda record: [shown])
    assert "<script" not in html
    assert f"taken for {EVIL}" in Page(html).text


def test_parts_of_a_suite_are_listed():
    part = Part(name="square", attacked=90, broken=7, seconds=1.0, forwards=1, backwards=1)
    suite = replace(attack("autoattack", 100, 200), parts=(part,))
    found = page(replace(make(pgd20=120), attacks=(suite,)))
    assert "square broke 7 of the 90 left" in found.text


@pytest.mark.parametrize(("strongest", "bound"), [("pgd100", True), ("cr", False)])
def test_attacks_that_try_no_class_in_turn_are_called_an_upper_bound(strongest, bound):
    made = make(pgd20=120, **{strongest: 118})
    assert ("upper bound: no attack of this run" in str(made)) is bound
    assert ("upper bound: no attack of this run" in page(made).text) is bound


def test_several_records_are_compared():
    found = page(make(pgd20=100, epsilon="0.1"), make(pgd20=80, epsilon="0.2"))
    assert "Side by side" in found.text
    assert "PGD-20 against epsilon (digits, Linf, n = 200)" in found.text
    assert "†" not in found.text
    failed = Check(name="black-box", passed=False, detail="Square broke 9 more.")
    marked = page(replace(make(pgd20=100), checks=(failed,)), make(pgd20=80, epsilon="0.2"))
    assert "†: a check failed, see the model's own section." in marked.text


def test_examples_are_adversarial_images_of_the_record():
    net, data = robust_net(), digits(96)
    made = evaluate(net, data, ["pgd1", "pgd5"], DIGITS)
    found = examples(made, net, data)
    result = made.attack("pgd5")
    assert 1 <= len(found) <= 6
    for one in found:
        assert (made.clean.verdicts[one.index], result.last_verdicts[one.index]) == ("1", "0")
        assert one.attack == "pgd5"
        assert one.label != one.taken_for
        clean, change, both = map(pixels, (one.clean, one.change, one.adversarial))
        assert clean.shape == (8, 8)
        assert np.abs(both - clean).max() <= 0.15 + 1.5 / 255
        restored = clean + (change - 0.5) / one.amplified
        assert np.abs(restored - both).max() < 0.02
    html = report.page([made], [], lambda one: found)
    assert f"taken for {found[0].taken_for}" in Page(html).text


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model": {"state_sha256": "0"}}, "weights at hand are not those"),
        ({"data": {"sha256": "0"}}, "images at hand are not those"),
        ({"attacks": ()}, "no attack of the gradient family"),
    ],
)
def test_examples_of_something_else_are_refused(change, told):
    net, data = robust_net(), digits(32)
    made = evaluate(net, data, ["pgd2"], DIGITS)
    changed = {
        key: replace(getattr(made, key), **value) if isinstance(value, dict) else value
        for key, value in change.items()
    }
    with pytest.raises(ZooError, match=told):
        examples(replace(made, **changed), net, data)


def test_records_without_weights_have_no_examples():
    made = evaluate(robust_net(), digits(16), ["pgd2"], DIGITS)
    with pytest.raises(ZooError, match="names no weights"):
        remake(made)


class TestCommand:
    def test_an_evaluation_writes_its_page(self, tmp_path, capsys):
        save_fitted(tmp_path / "racl.digits")
        options = ["--model", f"local-dir:{tmp_path / 'racl.digits'}", "--attack", "pgd3"]
        out = ["--out", str(tmp_path / "r.json"), "--html", str(tmp_path / "r.html")]
        assert main([*options, "--n", "64", "--eps", "0.05", *out]) == 0
        assert "r.html" in capsys.readouterr().out
        found = Page((tmp_path / "r.html").read_text())
        assert "Images that pgd3 broke" in found.text
        assert sum(address.startswith("data:image/png") for address in found.addresses) >= 3

    def test_records_and_a_matrix_become_one_page(self, tmp_path):
        paths = [tmp_path / "a.json", tmp_path / "b.json"]
        for path, name in zip(paths, ("racl.digits", "nothing.digits"), strict=True):
            record.write(make(name, pgd20=100), path)
        paths.append(tmp_path / "matrix.json")
        files.write_json(paths[-1], MATRIX.to_dict())
        out = tmp_path / "report.html"
        assert main(["report", *map(str, paths), "--out", str(out)]) == 0
        text = Page(out.read_text()).text
        assert "Left out:" in text
        assert "Transfer between models digits test, 4 images; Linf, epsilon 0.15; pgd10." in text
        assert "75.0" in text  # "b" on the images of "a"

    @pytest.mark.parametrize(
        ("content", "told"),
        [("{}", "is not a record of this harness"), ('{"schema": "x"}', "is not an evaluation")],
    )
    def test_other_files_are_refused(self, tmp_path, capsys, content, told):
        path = tmp_path / "x.json"
        path.write_text(content)
        assert main(["report", str(path), "--out", str(tmp_path / "r.html")]) == 2
        assert told in capsys.readouterr().err
