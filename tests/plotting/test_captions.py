"""Figures of searches and trainings say on how many images, and under which attack."""

import json
import re
from html import unescape

import pytest
from helpers.training import small

from robnet_zoo.plotting.curves import learning_curves
from robnet_zoo.plotting.style import save
from robnet_zoo.runtime.statistics import proportion
from robnet_zoo.search.arnas.trace import draw_trace
from robnet_zoo.search.compare.plots import draw_accuracies
from robnet_zoo.search.racl.plots import draw_constraint
from robnet_zoo.search.robnet.analysis.figures import scored_on


def words(path):
    """Return the words of an SVG, line by line."""
    return [unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())]


def test_a_comparison_says_what_its_cells_were_judged_on(tmp_path):
    path = tmp_path / "a.svg"
    rates = {"clean": proportion(19, 20), "pgd20": proportion(9, 20)}
    draw_accuracies(path, {"racl": rates}, "digits test, Linf 0.15, n = 20")
    assert {"racl", "pgd20", "digits test, Linf 0.15, n = 20"} <= set(words(path))


def test_a_search_says_of_how_many_images_its_figures_are(tmp_path):
    path = tmp_path / "a.svg"
    draw_trace(path, [{"epoch": 1, "natural": 2.0, "adversarial": 2.5}], 512, "PGD-3, Linf 0.15")
    assert "n = 512 an epoch, PGD-3, Linf 0.15" in words(path)
    row = dict.fromkeys(("mu", "sigma", "c", "theta", "probability", "held_out_accuracy"), 0.5)
    draw_constraint(path, [{"epoch": 1, **row}], 0.9, None, 0, 200)
    assert "clean held-out accuracy of the supernet, n = 200" in words(path)


def test_a_study_takes_attack_and_images_from_its_record(tmp_path):
    record = {
        "dataset": {"name": "digits", "held_out_images": 200},
        "threat_model": {"norm": "Linf", "epsilon": "0.15"},
        "recipe": {"score_steps": 10},
    }
    told = "digits, n = 200 held-out images; robust: PGD-10's last iterate, Linf 0.15"
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "record.json").write_text(json.dumps(record))
    assert scored_on([tmp_path / "a", tmp_path / "b"]) == told
    assert "attack not known" in scored_on([tmp_path])


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        ("digits", ["n = 450 held-out images", "PGD-10's last iterate, Linf 0.15"]),
        ("standard", ["n = 450 held-out images"]),
    ],
)
def test_learning_curves_say_by_what_the_run_was_scored(tmp_path, recipe, told):
    from robnet_zoo.data import load_split
    from robnet_zoo.runtime.distributed import ProcessGroup
    from robnet_zoo.train.build import build_run
    from robnet_zoo.train.score import describe_validation

    dataset, images = load_split("digits", "test")
    settings = small("digits", recipe).fitted(len(images))
    held_out = describe_validation(build_run(settings, dataset, images, images, ProcessGroup()))
    assert held_out.split("\n")[: len(told)] == told
    rows = [{"epoch": 1, "loss": 2.0, "lr": 0.1, "ema_clean": 0.5}]
    save(learning_curves(rows, held_out), tmp_path / "curves.svg")
    assert set(told) <= {
        line for text in words(tmp_path / "curves.svg") for line in text.split("\n")
    }
