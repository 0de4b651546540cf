"""`--attack certify`: its record, its curves, and what it refuses."""

import csv
import json
from functools import partial

import pytest
import torch
from helpers.fitted import save_fitted
from helpers.small_nets import digits, robust_net
from msgspec import UNSET
from msgspec.structs import replace
from PIL import Image

from robnet_zoo.certify import certified, certified_margin
from robnet_zoo.certify.size import feasible
from robnet_zoo.certify.tracing import trace
from robnet_zoo.data import dataset_info
from robnet_zoo.data.splits import ArraySplit
from robnet_zoo.eval import RunMetadata
from robnet_zoo.eval.__main__ import main
from robnet_zoo.eval.studies import certificate, certify
from robnet_zoo.eval.target import EvalTarget, find_model
from robnet_zoo.runtime import files
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.threat_models import get_threat_model
from robnet_zoo.zoo.load import load

N = 4


def subject(epsilon="0.15"):
    images, labels = digits(32)
    return EvalTarget(
        model=robust_net(),
        dataset=dataset_info("digits"),
        split=ArraySplit((images * 255).round().to(torch.uint8), labels),
        threat_model=get_threat_model("digits").at(epsilon),
        metadata=RunMetadata(model="small", data="digits", split="test"),
    )


@pytest.fixture(scope="module")
def found():
    return certify.certify(subject(), n=N)


def test_the_certificates_of_the_checkout_are_written_as_they_were(root, tmp_path):
    paths = sorted((root / "search").rglob("certificate.json"))
    paths += sorted((root / "eval" / "certificates").glob("*.json"))
    assert len(paths) > 5
    for path in paths:
        files.write_json(tmp_path / "a.json", certificate.read(path).to_dict())
        assert (tmp_path / "a.json").read_bytes() == path.read_bytes()


def test_radii_are_certain_and_a_little_more_is_not(found):
    one = subject()
    images = one.split.images(torch.arange(N)).float() / 255
    for norm, radii in found.radii.items():
        sizes = torch.tensor(radii.each)
        assert (sizes > 0).sum() >= N - 1
        some = sizes > 0
        chosen = one.model, images[some], one.split.labels[:N][some]
        assert (certified_margin(*chosen, sizes[some], norm=norm) > 0).all()
        beyond = 1.1 * sizes[some]  # what is tried lies within four times of what is certain
        assert (certified_margin(*chosen, beyond, norm=norm) < 0).all()
    assert found.radii["L2"].mean > found.radii["Linf"].mean


def test_certified_accuracy_is_that_of_bounds_at_the_size_itself(found):
    one = subject()
    images = one.split.images(torch.arange(N)).float() / 255
    assert found.points[0].certified.correct > 0
    for at in found.points:
        margin = certified_margin(one.model, images, one.split.labels[:N], at.epsilon_value)
        assert at.certified_verdicts == "".join("1" if value > 0 else "0" for value in margin)
    assert found.verdicts == found.points[-1].certified_verdicts


def test_certified_accuracy_lies_below_what_the_attack_leaves(found):
    assert all(check.passed for check in found.checks)
    assert all(at.certified.correct <= at.attacked.correct for at in found.points)
    assert found.points[0].certified.correct > found.points[-1].certified.correct


def test_an_image_certain_at_a_size_counts_there_though_its_radius_falls_short(found):
    """A bisection stops below the size; the bound at the size itself decides."""
    size = found.points[3].epsilon_value
    radii = {"Linf": certificate.averaged([0.99 * size] * N)}
    certain = replace(found, radii=radii, points=found.points[3:4])
    verdicts = found.points[3].certified_verdicts
    assert "1" in verdicts
    assert [reach >= size for reach in certain.reach] == [verdict == "1" for verdict in verdicts]
    old = replace(found.points[3], certified_verdicts=UNSET)
    assert replace(certain, points=(old,)).reach == list(radii["Linf"].each)


def test_certified_accuracy_is_drawn_in_steps(found):
    (axes,) = found.plot("steps").draw().axes
    drawn = {line.get_label(): line.get_drawstyle() for line in axes.lines}
    assert drawn == {"clean": "default", "pgd20": "default", "certified": "steps-pre"}


def test_float64_and_other_methods_are_written_down():
    one = subject("0.02")
    tight = certify.certify(one, n=1, norms=["Linf"], method="zonotope", precision="float64")
    assert (tight.settings.method, tight.settings.precision) == ("zonotope", "float64")
    assert tight.settings.rounding == 1e-9
    assert next(one.model.parameters()).dtype == torch.float32


def test_an_image_broken_within_its_radius_fails_the_check(found):
    points = [replace(found.points[0], attacked_verdicts="0" * N)]
    check = certificate.check(points, found.reach)
    assert not check.passed
    assert "image 0" in check.detail


def test_the_three_accuracies_are_drawn_in_one_plot(found, tmp_path):
    record, table, picture = certificate.write(found, tmp_path / "small.json")
    assert json.loads(record.read_text())["radii"]["Linf"]["each"] == list(found.radii["Linf"].each)
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["name"] for row in rows} == {"clean", "pgd20", "certified"}
    certified = [int(row["correct"]) for row in rows if row["name"] == "certified"]
    assert certified == sorted(certified, reverse=True)
    with Image.open(picture) as image:
        assert image.format == "PNG"


def test_a_record_is_read_back_and_an_altered_one_refused(found, tmp_path):
    path, _, _ = certificate.write(found, tmp_path / "small.json")
    assert certificate.read(path) == found
    record = json.loads(path.read_text())
    for altered in (
        "[]",
        "{",
        '{"schema": 1}',
        json.dumps(record | {"schema": "other/1"}),
        json.dumps(record | {"radii": {}}),
        json.dumps(record | {"radii": {"L0": record["radii"]["Linf"]}}),
        json.dumps(record | {"points": []}),
        json.dumps(record | {"settings": record["settings"] | {"method": "guess"}}),
        json.dumps(record | {"surprise": 1}),
        json.dumps({key: value for key, value in record.items() if key != "checks"}),
    ):
        path.write_text(altered)
        with pytest.raises(ZooError, match=r"small\.json"):
            certificate.read(path)
    with pytest.raises(ZooError, match="Cannot read"):
        certificate.read(tmp_path / "nowhere.json")


def test_a_run_goes_on_with_the_images_that_are_done(tmp_path, monkeypatch):
    out, done = tmp_path / "record.json", []
    original = certify.certified_radius

    def stop_at_third(model, images, labels, *, norm, **rest):
        done.append(norm)
        if len(done) == 3:
            raise KeyboardInterrupt
        return original(model, images, labels, norm=norm, **rest)

    monkeypatch.setattr(certify, "certified_radius", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        certify.certify(subject(), n=2, out=out)
    resumed = certify.certify(subject(), n=2, out=out, resume=True)
    assert len(done) == 3 + 2
    fresh = certify.certify(subject(), n=2)
    assert resumed.radii == fresh.radii


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights") / "racl.digits"
    save_fitted(folder, size={"channels": 2, "layers": 3, "in_channels": 1})
    return folder


@pytest.fixture
def run(weights, run_eval):
    return partial(run_eval, "--model", f"local-dir:{weights}")


def test_the_command_certifies_a_network_of_the_zoo(run, tmp_path):
    asked = ("--attack", "certify", "--n", "1", "--eps", "0.001")
    code, out, _ = run(*asked)
    assert code == 0
    assert "certified radius in Linf" in out
    assert "certified radius in L2" in out
    written = tmp_path / "runs" / "eval"
    for kind in ("json", "csv", "png"):
        assert (written / f"racl.digits-certify.{kind}").exists()
    code, _, err = run(*asked)
    assert code == 2
    assert "is finished: show it with --resume" in err
    written = {path: path.read_bytes() for path in written.iterdir()}
    code, again, err = run(*asked, "--resume")
    assert code == 0
    assert "racl.digits-certify.json' is finished; delete it" in err
    assert again == out[: out.index("Written:")]
    assert written == {path: path.read_bytes() for path in written}
    for other, named in ((("--eps", "0.002"), "threat model"), (("--seed", "1"), "settings")):
        code, _, err = run(*asked, *other, "--resume")
        assert code == 2
        assert f"it was made with another {named}; name another --out" in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--attack", "certify,pgd20"], "stands alone"),
        (["--attack", "certify", "--restarts", "2"], "--restarts"),
    ],
)
def test_what_does_not_go_together_is_refused(run, options, words):
    code, _, err = run(*options)
    assert code == 2
    assert words in err


def test_a_network_too_large_for_a_method_is_refused_plainly(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = main(["certify", "--model", "racl.digits", "--method", "linear", "--n", "1"])
    err = capsys.readouterr().err
    assert code == 2
    assert "too large to certify" in err
    assert "zonotope takes larger ones" in err


def test_a_zoo_network_of_twenty_cells_is_certified_at_a_thousandth():
    model, one = load(find_model("racl.digits", None)).eval(), subject()
    image, label = one.split.images(torch.arange(1)).float() / 255, one.split.labels[:1]
    assert feasible(trace(model, image)) == "zonotope"
    assert certified(model, image, label, 0.001, method="zonotope").item()


def test_training_mode_and_parameters_are_left_as_they_were():
    one = subject()
    one.model.train()
    certify.certify(one, n=1)
    assert one.model.training
    assert all(parameter.requires_grad for parameter in one.model.parameters())


def test_no_images_are_refused():
    with pytest.raises(ZooError, match="n 0"):
        certify.certify(subject(), n=0)
