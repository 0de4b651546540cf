import json
from functools import partial

import pytest
import torch
from helpers.fitted import save_fitted

import robnet_zoo
from robnet_zoo.data import load_split
from robnet_zoo.eval.__main__ import main


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights") / "racl.digits"
    save_fitted(folder)
    return folder


@pytest.fixture
def run(weights, run_eval):
    """Return a function that runs the command on the weights: exit code, stdout, stderr."""
    return partial(run_eval, "--model", f"local-dir:{weights}")


def test_the_main_job_says_everything_and_writes_the_record(run, tmp_path):
    code, out, _ = run("--attack", "pgd3", "--n", "40")
    record = json.loads((tmp_path / "runs/eval/racl.digits-pgd3.json").read_text())
    attack, clean = record["attacks"][0], record["clean"]["accuracy"]
    assert code == 0
    for told in (
        "racl.digits",
        f"{record['model']['parameters']:,} parameters",
        record["model"]["weights_file_sha256"][:8],
        "published",
        "digits test, 40 of 450 images",
        "Linf, epsilon 0.15",
        f"{100 * clean['accuracy']:.2f} %",
        f"{100 * clean['low']:.1f} - {100 * clean['high']:.1f}",
        f"{100 * attack['robust']['accuracy']:.2f} %",
        f"{100 * attack['last']['accuracy']:.2f} %",
        "runs/eval/racl.digits-pgd3.json",
    ):
        assert told in out
    assert record["data"]["n"] == attack["robust"]["n"] == 40
    assert len(attack["verdicts"]) == 40


def test_the_python_face_gives_the_same_verdicts(run, weights, tmp_path):
    run("--attack", "pgd3,fgsm", "--eps", "0.05", "--n", "40", "--out", "a.json")
    model = robnet_zoo.create_model(f"local-dir:{weights}")
    _, split = load_split("digits", "test")
    threat_model = robnet_zoo.threat_models.get_threat_model("digits").at("0.05")
    report = robnet_zoo.evaluate(model, split, ["pgd3", "fgsm"], threat_model, n=40)
    record = json.loads((tmp_path / "a.json").read_text())
    assert report.to_dict()["totals"]["verdicts"] == record["totals"]["verdicts"]
    assert report.model.state_sha256 == record["model"]["state_sha256"]
    assert "0" in record["totals"]["verdicts"]
    assert "1" in record["totals"]["verdicts"]


def test_options_reach_the_attacks(run, tmp_path):
    code, out, _ = run(
        *("--attack", "pgd2,pgd3", "--restarts", "2", "--targeted", "--early-exit"),
        *("--norm", "L2", "--eps", "1/2", "--seed", "9", "--batch-size", "20", "--n", "12"),
        *("--split", "validation", "--out", "deep/er/a.json", "--device", "cpu", "--resume"),
    )
    record = json.loads((tmp_path / "deep/er/a.json").read_text())
    settings = record["attacks"][1]["settings"]
    assert code == 0
    assert [attack["name"] for attack in record["attacks"]] == ["pgd2-targeted", "pgd3-targeted"]
    assert "pgd3-targeted" in out
    assert (settings["restarts"], settings["targeted"], settings["early_exit"]) == (2, True, True)
    assert (record["threat_model"]["norm"], record["threat_model"]["epsilon"]) == ("L2", "1/2")
    assert settings["step_value"] == 0.125
    assert (record["settings"]["seed"], record["settings"]["batch_size"]) == (9, 20)
    assert record["data"]["split"] == "validation"
    assert "all attacks" in out


def test_a_randomised_model_is_judged_by_draws(run, tmp_path):
    options = ("--draws", "3", "--decide", "mean", "--eot", "2", "--loss", "margin")
    code, out, _ = run("--attack", "pgd2", "--n", "16", "--out", "a.json", *options)
    record = json.loads((tmp_path / "a.json").read_text())
    assert code == 0 and "attacks average 2 draws, verdicts by the mean of 3 draws" in out
    chosen = {name: record["settings"][name] for name in ("draws", "decide", "eot")}
    assert chosen == {"draws": 3, "decide": "mean", "eot": 2}
    assert record["attacks"][0]["settings"]["loss"] == "margin"
    assert "mean of draws" in out and len(record["attacks"][0]["draws"]["verdicts"]) == 3


def test_a_users_own_arrays_are_judged(run, tmp_path):
    import numpy as np

    _, split = load_split("digits", "test")
    pixels = split.images(torch.arange(30)).permute(0, 2, 3, 1).numpy()
    np.savez(tmp_path / "own.npz", x=pixels, y=split.labels[:30].numpy())
    own = ("--dataset", "arrays:own.npz", "--threat-model", "digits", "--attack", "fgsm")
    assert run(*own, "--out", "own.json")[0] == 0
    assert run("--attack", "fgsm", "--n", "30", "--out", "named.json")[0] == 0
    records = [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("own", "named")]
    assert records[0]["totals"]["verdicts"] == records[1]["totals"]["verdicts"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--attack", "pdg20"), "Unknown attack 'pdg20'; did you mean pgd20"),
        (("--attack", "fgsm,"), "Unknown attack ''"),
        (("--attack", "fgsm", "--eps", "8"), "epsilon '8' is out of range"),
        (("--attack", "fgsm", "--eps", "0"), "epsilon '0' is out of range"),
        (("--attack", "fgsm", "--eps", "8/0"), "epsilon '8/0' is not a number"),
        (("--attack", "fgsm", "--eps", "eight"), "epsilon 'eight' is not a number"),
        (("--attack", "fgsm", "--norm", "L2"), "--norm L2 needs --eps"),
        (("--attack", "fgsm", "--n", "0"), "n 0 is out of range; there are 450 images"),
        (("--attack", "fgsm", "--n", "-5"), "n -5 is out of range"),
        (("--attack", "fgsm", "--n", "451"), "there are 450 images"),
        (("--attack", "fgsm", "--seed", "-1"), "seed -1 is out of range"),
        (("--attack", "fgsm", "--batch-size", "0"), "batch size 0 is out of range"),
        (("--attack", "fgsm", "--restarts", "3"), "'fgsm' starts at the clean image"),
        (("--attack", "fgsm", "--weights", "none"), "An untrained"),
        (("--attack", "fgsm", "--weights", "cifar10"), "takes no weights 'cifar10'"),
        (("--attack", "fgsm", "--dataset", "digit"), "did you mean digits"),
        (("--attack", "fgsm", "--dataset", "cifar10", "--data", "nowhere"), "channel"),
        (("--attack", "fgsm", "--dataset", "mnist", "--data", "/proc/nowhere"), "/proc/nowhere"),
        (("--attack", "fgsm", "--dataset", "arrays:no.npz", "--threat-model", "digits"), "no.npz"),
        (("--attack", "fgsm", "--split", "tset"), "did you mean test"),
        (("--attack", "fgsm", "--threat-model", "digit"), "did you mean digits"),
        (("--attack", "fgsm", "--device", "tpu"), "Unknown device 'tpu'"),
        (("--attack", "fgsm", "--out", "."), "it is a folder"),
        (("--attack", "fgsm", "--out", "/proc/a.json"), "Cannot write '/proc/a.json'"),
        pytest.param(
            ("--attack", "fgsm", "--device", "cuda"),
            "no CUDA device is available",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is one"),
        ),
    ],
)
def test_bad_input_ends_in_one_sentence_and_writes_nothing(run, tmp_path, options, message):
    code, out, err = run(*options)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_an_unknown_model_is_told_with_the_nearest_names(capsys):
    assert main(["--model", "rcal", "--attack", "fgsm"]) == 2
    assert "Unknown model 'rcal'; did you mean racl" in capsys.readouterr().err


def test_resuming_another_evaluation_is_refused(run):
    assert run("--attack", "pgd2", "--n", "8", "--out", "a.json")[0] == 0
    code, _, err = run("--attack", "pgd2", "--n", "9", "--out", "a.json", "--resume")
    assert code == 2
    assert "made with another data" in err


def test_help_comes_without_torch(run_python):
    code = (
        "import sys, robnet_zoo.eval.__main__ as m\n"
        "try: m.main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    run_python(code)
