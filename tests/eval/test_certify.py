"""`--attack certify`: its record, its curves, and what it refuses."""

import csv
import json
from functools import partial

import pytest
import torch
from helpers.fitted import save_fitted
from helpers.small_nets import digits, robust_net
from msgspec.structs import replace
from PIL import Image

from robnet_zoo.certify import certified_margin
from robnet_zoo.certify.jacobian import margin_gradients
from robnet_zoo.certify.margins import BISECTIONS
from robnet_zoo.data import dataset_info
from robnet_zoo.data.splits import ArraySplit
from robnet_zoo.eval import RunMetadata
from robnet_zoo.eval.__main__ import main
from robnet_zoo.eval.studies import certificate, certify
from robnet_zoo.eval.target import EvalTarget
from robnet_zoo.runtime import files
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.threat_models import get_threat_model

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
        margin = certified_margin(one.model, images, one.split.labels[:N], sizes, norm=norm)
        assert (margin[sizes > 0] > 0).all()
        gaps, slopes = margin_gradients(one.model, images, one.split.labels[:N], norm)
        step = 2 * (gaps / slopes).amin(0) / 2**BISECTIONS
        beyond = sizes + 1.001 * step.where(sizes > 0, 0 * step)
        margin = certified_margin(one.model, images, one.split.labels[:N], beyond, norm=norm)
        assert (margin[sizes > 0] < 0).all()
    assert found.radii["L2"].mean > found.radii["Linf"].mean


def test_certified_accuracy_lies_below_what_the_attack_leaves(found):
    assert all(check.passed for check in found.checks)
    assert all(at.certified.correct <= at.attacked.correct for at in found.points)
    assert found.points[0].certified.correct > found.points[-1].certified.correct
    expected = "".join("1" if radius >= 0.15 else "0" for radius in found.radii["Linf"].each)
    assert found.verdicts == expected


def test_an_image_broken_within_its_radius_fails_the_check(found):
    points = [replace(found.points[0], attacked_verdicts="0" * N)]
    check = certificate.check(points, found.radii["Linf"].each)
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

    def stop_at_third(model, images, labels, *, norm):
        done.append(norm)
        if len(done) == 5:
            raise KeyboardInterrupt
        return original(model, images, labels, norm=norm)

    monkeypatch.setattr(certify, "certified_radius", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        certify.certify(subject(), n=3, out=out)
    resumed = certify.certify(subject(), n=3, out=out, resume=True)
    assert len(done) == 5 + 2
    fresh = certify.certify(subject(), n=3)
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
    code, out, _ = run("--attack", "certify", "--n", "1", "--eps", "0.02")
    assert code == 0
    assert "certified radius in Linf" in out
    written = tmp_path / "runs" / "eval"
    for kind in ("json", "csv", "png"):
        assert (written / f"racl.digits-certify.{kind}").exists()
    code, _, err = run("--attack", "certify", "--n", "1", "--eps", "0.02", "--resume")
    assert code == 2
    assert "is finished" in err


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


def test_a_zoo_network_of_twenty_cells_is_refused_plainly(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = main(["--model", "racl.digits", "--attack", "certify", "--n", "1"])
    err = capsys.readouterr().err
    assert code == 2
    assert "too large to certify" in err
    assert "feasible" in err


def test_training_mode_and_parameters_are_left_as_they_were():
    one = subject()
    one.model.train()
    certify.certify(one, n=1)
    assert one.model.training
    assert all(parameter.requires_grad for parameter in one.model.parameters())


def test_no_images_are_refused():
    with pytest.raises(ZooError, match="n 0"):
        certify.certify(subject(), n=0)
