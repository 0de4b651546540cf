"""One image on the command line: what it shows, and what an attack makes of it."""

import numpy as np
import pytest
import torch
from helpers.fitted import save_fitted
from helpers.tiny_weights import edit_config
from PIL import Image

from robnet_zoo import create_model
from robnet_zoo.cli.main import main
from robnet_zoo.data import load_split

NETWORK = "racl.small, trained against Linf 0.15"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small network that knows digits."""
    return save_fitted(tmp_path_factory.mktemp("weights") / "racl.small").folder


@pytest.fixture
def digit(tmp_path, monkeypatch):
    """The first test digit as an image file, in the folder where commands run."""
    monkeypatch.chdir(tmp_path)
    _, split = load_split("digits", "test")
    image = split.images(torch.tensor([0]))[0, 0].numpy()
    Image.fromarray(image).save("digit.png")
    return image


def test_predict_prints_three_classes_and_what_the_network_knows(digit, capsys):
    assert main(["predict", "digit.png", "--model", "racl.digits"]) == 0
    head, *classes, note = capsys.readouterr().out.splitlines()
    assert head == "digit.png as racl.digits sees it, in 8x8 grey pixels:"
    with torch.no_grad():
        logits = create_model("racl.digits")(torch.from_numpy(digit)[None, None] / 255)
    rates = logits.softmax(1)[0]
    best = rates.topk(3)
    assert [line.split()[0] for line in classes] == [str(int(index)) for index in best.indices]
    printed = [float(line.split()[1]) for line in classes]
    assert printed == pytest.approx([100 * min(float(p), 0.999) for p in best.values], abs=0.06)
    assert "handwritten digits, white on black; of any other picture" in note


def test_attack_draws_and_tells_what_came_of_it(digit, weights, capsys):
    options = ["--model", str(weights), "--attack", "pgd5", "--eps", "0.4", "--out", "a.png"]
    assert main(["attack", "digit.png", *options]) == 0
    line, _, written = capsys.readouterr().out.splitlines()
    before, after = line.removeprefix(f"{NETWORK}: ").split(" -> ")
    assert before.split()[0] != after.split()[0]
    assert written == "Written: a.png"
    with Image.open("a.png") as drawn:
        assert drawn.width > 1200
        assert 300 < drawn.height < 600  # one row
        assert np.array(drawn.convert("L")).std() > 10


def test_a_twin_has_a_row_of_its_own(digit, weights, tmp_path, capsys):
    twin = save_fitted(tmp_path / "racl.small-natural", seed=1).folder
    edit_config(twin, training={"recipe": "natural"})
    options = ["--model", str(weights), "--attack", "fgsm", "--twin", str(twin)]
    assert main(["attack", "digit.png", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{NETWORK}: ")
    assert lines[1].startswith("racl.small-natural, trained naturally: ")
    assert lines[-1] == "Written: digit-fgsm.png"
    with Image.open("digit-fgsm.png") as drawn:
        assert drawn.height > 700


def test_a_network_that_is_wrong_anyhow_is_not_attacked(digit, weights, capsys):
    assert main(["predict", "digit.png", "--model", str(weights)]) == 0
    seen = int(capsys.readouterr().out.splitlines()[1].split()[0])
    options = ["--model", str(weights), "--attack", "fgsm", "--label", str((seen + 1) % 10)]
    assert main(["attack", "digit.png", *options]) == 0
    told = capsys.readouterr().out
    assert f"-> still {seen} (" in told
    assert "racl.small is wrong without an attack, so there is nothing to attack." in told


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["missing.png"], "There is no file 'missing.png'"),
        (["digit.png", "--out", "digit.png"], "is the image itself"),
        (["digit.png", "--out", "a.gif"], "must end in .png or .svg"),
        (["digit.png", "--attack", "pdg20"], "did you mean"),
        (["digit.png", "--attack", "pgd5", "--steps", "0"], "steps"),
        (["digit.png", "--label", "ten"], "Unknown class 'ten'"),
        (["digit.png", "--label", "10"], "Unknown class '10'"),
        (["digit.png", "--eps", "8"], "must lie in (0, 1]"),
        (["digit.png", "--twin", "racl.cifar10-mini"], "name a network that knows the same"),
        (["digit.png", "--model", "raccl"], "did you mean racl?"),
    ],
)
def test_mistakes_end_with_one_line(digit, weights, capsys, tmp_path, words, says):
    assert main(["attack", "--model", str(weights), *words]) == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["digit.png"]
