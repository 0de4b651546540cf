"""What runs without the packages that only extras install."""

import sys
import tomllib

import pytest
from helpers.documents import README, ROOT

from robnet_zoo.data import load_split
from robnet_zoo.eval.libraries import pretrained
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.search.__main__ import main as search_main
from robnet_zoo.train.__main__ import main as train_main
from scripts.check_versions import lower_bounds

WITHOUT = """
import sys
for module in ("torchvision", "torchattacks", "PIL", "timm", "foolbox", "optuna"):
    sys.modules[module] = None  # importing it fails
from robnet_zoo import create_model
from robnet_zoo.eval.__main__ import main
for name in ("racl", "resnet18", "densenet121"):
    create_model(name, channels=4)
sys.exit(main(["--model", "racl.digits", "--attack", "pgd2", "--n", "8", *sys.argv[1:]]))
"""


def test_networks_and_the_evaluation_need_no_extra_but_the_data_set(run_python, tmp_path):
    out, _ = run_python(WITHOUT, "--out", tmp_path / "record.json", cwd=tmp_path)
    assert "pgd2" in out
    assert (tmp_path / "record.json").is_file()


@pytest.mark.parametrize(
    ("module", "act"),
    [
        ("torchvision.datasets", lambda: load_split("cifar10", "test")),
        ("torchvision", lambda: pretrained("torchvision", "resnet18", None, None)),
    ],
)
def test_what_needs_torchvision_says_so(monkeypatch, module, act):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ZooError, match=r"needs torchvision.*pip install \"robnet-zoo\[vision\]"):
        act()


def test_what_needs_tensorboard_says_so_before_it_trains(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    run = tmp_path / "run"
    assert train_main(["--model", "racl", "--log", "tensorboard", "--out", str(run)]) == 2
    assert 'pip install "robnet-zoo[tensorboard]"' in capsys.readouterr().err
    assert not run.exists()


def test_what_needs_optuna_says_so_before_it_searches(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert search_main(["robnet", "--smoke", "--out", str(tmp_path / "run")]) == 2
    assert 'pip install "robnet-zoo[search]"' in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_torchvision_of_another_torch_is_told_from_a_missing_one(monkeypatch):
    def broken(module):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr("robnet_zoo.runtime.extras.import_module", broken)
    with pytest.raises(ZooError, match=r"torchvision, which cannot be imported \(operator"):
        load_split("cifar10", "test")


def test_the_readme_names_every_extra():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
        "optional-dependencies"
    ]
    named = {extra for extra in extras if f"\n| `{extra}` |" in README}
    assert named == extras.keys() - {"dev"}


def test_the_lowest_versions_are_those_of_the_core_and_of_every_extra():
    bounds = dict(line.split("==") for line in lower_bounds())
    assert {
        "torch",
        "numpy",
        "torchvision",
        "torchattacks",
        "scikit-learn",
        "optuna",
    } <= bounds.keys()
    assert bounds["torch"] == "2.5"
    assert bounds["huggingface-hub"].startswith("1.")  # the newest is 2: both majors are tested
