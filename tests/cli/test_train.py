"""The training command: what it writes, what it refuses, and the weights it exports."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from helpers.tiny_weights import save_tiny
from helpers.training import quick, write_arrays

from robnet_zoo import create_model, get_weights
from robnet_zoo.runtime.checkpoint import load_checkpoint
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.train.__main__ import main
from robnet_zoo.train.export import export
from robnet_zoo.train.init import init_settings
from robnet_zoo.train.recipes import RECIPES
from robnet_zoo.train.session import train
from robnet_zoo.train.settings import read_settings
from robnet_zoo.zoo.weights import read_weights

CLASS_NAMES = tuple(f"number {digit}" for digit in range(10))


def test_help_and_mistakes_do_not_wait_for_torch(run_python):
    code = (
        "import sys\n"
        "from robnet_zoo.cli.tree import build_parser\n"
        "from robnet_zoo.train.__main__ import main\n"
        "text = build_parser('train', [], 'train').format_help()\n"
        "assert 'paper-robnet' in text and '--time-budget' in text\n"
        "assert main(['--model', 'racl', '--recipe', 'standart']) == 2\n"
        "assert 'torch' not in sys.modules\n"
    )
    _, complaint = run_python(code)
    assert "Unknown recipe 'standart'; did you mean standard" in complaint


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "No model was named"),
        (("--model", "racle"), "Unknown model 'racle'; did you mean racl"),
        (("--model", "racl", "--dataset", "cifar11"), "Unknown data set 'cifar11'"),
        (("--model", "racl", "--dataset", "arrays:none.npz"), "none.npz"),
        (("--model", "racl", "--epochs", "0"), "epochs=0 is out of range"),
        (("--model", "racl", "--batch-size", "0"), "batch_size=0 is out of range"),
        (("--model", "racl", "--batch-size", "5000"), "above the 1147 training images"),
        (("--model", "racl", "--batch-size", "9", "--accumulate", "2"), "cannot be divided"),
        (("--model", "racl", "--accumulate", "0"), "accumulate=0"),
        (("--model", "racl", "--accumulate", "2", "--compile", "reduce-overhead"), "CUDA graph"),
        (("pack", "nowhere", "--out", "there"), "There is no run in 'nowhere'"),
        (("unpack", "nowhere", "--out", "there"), "There is no pack in 'nowhere'"),
        (("--model", "racl", "--eps", "8"), "epsilon '8' is out of range"),
        (("--model", "racl", "--set", "steps"), "write KEY=VALUE"),
        (("--model", "racl", "--time-budget", "25"), "write 90s, 25m or 1h"),
        (("--model", "racl", "--epochs", "1", "--time-budget", "1m"), "give one of them"),
        (("--model", "racl", "--device", "tpu"), "Unknown device 'tpu'"),
        (("--model", "racl", "--threat-model", "cifar"), "Unknown threat model 'cifar'"),
        (("--resume",), "No model was named"),
        (("--init", "racl.nothing"), "Unknown weights of racl 'nothing'"),
        (("--init", "racl.digits", "--layers", "5"), "does not hold the tensors of"),
        (("--resume", "--out", "nowhere"), "There is no run in 'nowhere'"),
        (("--model", "racl", "--out", "/proc/run"), "Cannot write"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(tmp_path, monkeypatch, capsys, arguments, told):
    monkeypatch.chdir(tmp_path)
    assert main([*arguments]) == 2
    captured = capsys.readouterr()
    assert told in captured.err
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_trains(tmp_path, recipe):
    settings = quick(write_arrays(tmp_path), recipe, epochs=1, awp_from=0.5)
    record = train(settings, tmp_path / "run")
    assert record["settings"]["recipe"]["name"] == recipe
    assert record["steps"] == 4
    assert 0 < record["last"]["loss"] < 100
    assert (record["best"]["robust"] is None) == (recipe == "natural")


@pytest.mark.parametrize("changes", [{"loss": "mart"}, {"denoise": True}, {"craft_mode": "train"}])
def test_losses_and_network_parts_are_settings(tmp_path, changes):
    record = train(quick(write_arrays(tmp_path), epochs=1, **changes), tmp_path / "run")
    assert 0 < record["last"]["loss"] < 100


def test_a_batch_in_parts_gives_the_same_first_step_as_in_one(tmp_path):
    """Crafting in eval mode is per image; batch statistics are those of the part."""
    dataset = write_arrays(tmp_path)
    losses = []
    for parts in (1, 3):
        settings = quick(dataset, epochs=1, accumulate=parts)
        record = train(settings, tmp_path / f"run{parts}")
        losses.append(record["last"]["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=0.1)
    assert losses[0] != losses[1]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of a network with an auxiliary head, whose average did best."""
    folder = tmp_path_factory.mktemp("finished")
    dataset = write_arrays(folder, class_names=CLASS_NAMES)
    settings = quick(dataset, "paper-arnas", model="arnas", epochs=1, ema=0.5)
    train(settings, folder / "run")
    return folder


def test_a_run_folder_holds_log_curves_and_record(finished):
    from matplotlib.image import imread

    run = finished / "run"
    assert {path.name for path in run.iterdir()} == {
        *("settings.json", "last.pt", "best.pt", "lock"),
        *("history.csv", "curves.png", "record.json"),
    }
    header, row = (run / "history.csv").read_text().splitlines()
    assert header.split(",")[:5] == ["epoch", "step", "lr", "loss", "train_accuracy"]
    assert row.startswith("1,4,0.1,")
    assert imread(run / "curves.png").std() > 0.05
    record = json.loads((run / "record.json").read_text())
    assert record["dataset"]["training_images"] == 180
    assert record["threat_model"] == {"name": "digits", "norm": "Linf", "epsilon": "0.15"}
    assert record["environment"]["libraries"]["torch"]
    assert record["images"] == 180


def test_exported_weights_are_the_best_ones_without_the_auxiliary_head(finished):
    from robnet_zoo.data import load_split, to_float
    from robnet_zoo.runtime.checkpoint import load_checkpoint

    out = finished / "arnas.mine"
    weights = export(finished / "run", out)
    assert weights.class_names == CLASS_NAMES
    model = create_model(f"local-dir:{out}", verify=True)
    best = json.loads((finished / "run" / "record.json").read_text())["best"]
    state = load_checkpoint(finished / "run" / "best.pt")
    trained = state["average"] if best["weights"] == "ema" else state["model"]
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            assert torch.allclose(value, trained[name].float(), rtol=1e-3, atol=1e-6), name
    assert not any("auxiliary" in name for name in model.state_dict())
    _, held_out = load_split(weights.dataset, "validation", threat_model="digits")
    images = to_float(held_out.images(torch.arange(len(held_out))))
    with torch.no_grad():
        accuracy = (model(images).argmax(1) == held_out.labels).float().mean()
    assert float(accuracy) == pytest.approx(best["clean"], abs=0.051)
    assert weights.training["recipe"] == "paper-arnas"
    assert weights.training["selected"]["n"] == len(held_out)
    assert weights.genotype_status == "published"
    assert "license: mit" in (out / "README.md").read_text()


def test_what_is_to_be_known_about_the_data_goes_into_the_weights(finished, tmp_path):
    from robnet_zoo.data import dataset_info

    path = tmp_path / "own.npz"
    with np.load(finished / "digits.npz") as held:
        np.savez(path, **held, name="digits", note="two are blurred")
    own = dataset_info(f"arrays:{path}", "digits")
    assert (own.name, own.note) == ("digits", "two are blurred")

    run, out = finished / "run", tmp_path / "arnas.mine"
    assert main(["export", str(run), "--out", str(out)]) == 0
    config = json.loads((out / "config.json").read_text())
    assert config["dataset"] == f"arrays:{finished / 'digits.npz'}"
    assert config["training"]["data_note"] == "a user's own images"
    note = ["--dataset", "digits", "--data-note", "two are blurred"]
    assert main(["export", str(run), "--out", str(out), *note]) == 0
    config = json.loads((out / "config.json").read_text())
    assert config["dataset"] == "digits"
    assert config["training"]["data_note"] == "two are blurred"
    assert len(config["training"]["data_sha256"]) == 64
    assert "two are blurred" in (out / "README.md").read_text()


@pytest.mark.parametrize(("old", "mode"), [(True, "default"), (False, None)])
def test_settings_of_older_runs_are_read(tmp_path, old, mode):
    from robnet_zoo.train.settings import read_settings

    values = quick("digits").as_dict() | {"compile": old}
    del values["layout"]
    (tmp_path / "settings.json").write_text(json.dumps(values))
    assert read_settings(tmp_path) == quick("digits", compile=mode)


def test_layout_changes_nothing_but_rounding(tmp_path):
    losses = []
    for layout in ("channels_last", "contiguous"):
        settings = quick(write_arrays(tmp_path), "natural", epochs=1, layout=layout)
        losses.append(train(settings, tmp_path / layout)["last"]["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_export_of_an_unfinished_run_is_refused(finished, tmp_path):
    from robnet_zoo.train.settings import read_settings, write_settings

    write_settings(tmp_path, read_settings(finished / "run"))
    with pytest.raises(ZooError, match="is not finished; go on with --resume"):
        export(tmp_path, tmp_path / "racl.mine")


def test_a_folder_with_a_run_is_not_overwritten(finished, capsys):
    before = (finished / "run" / "last.pt").stat().st_mtime_ns
    assert main(["--model", "racl", "--out", str(finished / "run")]) == 2
    assert "already holds a run; add --resume" in capsys.readouterr().err
    assert (finished / "run" / "last.pt").stat().st_mtime_ns == before


def test_training_leaves_the_callers_random_state_alone(tmp_path):
    dataset = write_arrays(tmp_path)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    train(quick(dataset, "natural", epochs=1), tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), state)


def test_training_goes_on_from_weights(tmp_path, capsys):
    """With a new classifier, and first convolution, where the data set's are others."""
    folder = save_tiny(tmp_path / "racl.old", in_channels=3, num_classes=4)[1].folder
    settings = quick(write_arrays(tmp_path), model="racl", epochs=1, lr=1e-30, ema=0.0)
    settings = dataclasses.replace(settings, init=str(folder))
    record = train(settings, tmp_path / "run")
    said = capsys.readouterr().err
    assert "racl.old is loaded with" in said
    assert "untrained classifier for 10 classes" in said
    trained = load_checkpoint(tmp_path / "run" / "last.pt")["model"]
    old = create_model(f"local-dir:{folder}").state_dict()
    for name in ("cells.0.preprocess0.op.1.weight", "cells.2._ops.0.op.1.weight"):
        assert torch.equal(trained[name], old[name])  # at next to no learning rate
    grey = old["stem.0.weight"].sum(dim=1, keepdim=True)
    torch.testing.assert_close(trained["stem.0.weight"], grey)
    sha256 = read_weights(folder).sha256
    assert record["settings"]["init_sha256"] == sha256
    weights = export(tmp_path / "run", tmp_path / "racl.new", "digits")
    assert weights.training["init"] == {"weights": "racl.old", "sha256": sha256}
    assert str(tmp_path) not in json.dumps(weights.training)
    shutil.rmtree(folder)  # a run that began has what it needs
    assert train(read_settings(tmp_path / "run"), tmp_path / "run", resume=True)["resumed"] == 1


def test_weights_bring_their_architecture_and_size(tmp_path):
    weights = save_tiny(tmp_path / "arnas.old", "arnas")[1]
    assert init_settings(f"local-dir:{weights.folder}") == {
        "model": "arnas",
        "channels": 4,
        "layers": 3,
        "init": f"local-dir:{weights.folder}",
        "init_sha256": weights.sha256,
    }
    default = get_weights("racl")
    assert init_settings("racl")["init"] == default.name


def test_weights_that_became_others_are_not_started_from(tmp_path):
    folder = save_tiny(tmp_path / "racl.old")[1].folder
    settings = dataclasses.replace(quick(write_arrays(tmp_path)), **init_settings(str(folder)))
    save_tiny(folder, num_classes=3)
    with pytest.raises(ZooError, match="holds other weights by now"):
        train(settings, tmp_path / "run")


def test_a_run_with_random_weights_does_not_speak_of_others(finished):
    settings = json.loads((finished / "run" / "settings.json").read_text())
    assert not any(name.startswith("init") for name in settings)
