"""Runs that go wrong are noticed, rolled back and reported; time budgets are kept."""

import dataclasses
import json
import time

import pytest
import torch
from training import TRAINED, small, write_arrays

from robnet_zoo.errors import ZooError
from robnet_zoo.train.checkpoint import load_checkpoint, save_checkpoint
from robnet_zoo.train.clock import replan
from robnet_zoo.train.recipes import get_recipe
from robnet_zoo.train.schedule import Plan, mean_passes
from robnet_zoo.train.session import train


def half_way(tmp_path, spoil, **changes):
    """Train eight epochs, spoil the weights, and return the record of two more epochs."""
    dataset, run = write_arrays(tmp_path), tmp_path / "run"
    settings = small(dataset, "natural", epochs=8, ema=0.0, **changes)
    train(settings, run)
    settings = settings.fitted(TRAINED)
    longer = dataclasses.replace(settings.recipe, epochs=10)
    settings = dataclasses.replace(settings, recipe=longer)
    for name in ("best.pt", "last.pt"):
        state = load_checkpoint(run / name)
        state["position"]["plan"] = (0, 0.0, 40)
        if name == "last.pt":
            spoil(state)
        save_checkpoint(run / name, state)
    return train(settings, run, resume=True)


def test_a_loss_that_is_not_finite_is_rolled_back(tmp_path):
    def spoil(state):
        state["model"]["classifier.weight"].fill_(float("nan"))

    record = half_way(tmp_path, spoil)
    assert len(record["events"]) == 1
    assert "loss is not finite; rolled back to epoch" in record["events"][0]
    assert record["steps"] == 40
    final = load_checkpoint(tmp_path / "run" / "last.pt")
    assert all(torch.isfinite(tensor).all() for tensor in final["model"].values())
    assert json.loads((tmp_path / "run" / "record.json").read_text())["events"] == record["events"]


def test_a_collapse_of_held_out_accuracy_is_rolled_back(tmp_path):
    def spoil(state):
        state["model"]["classifier.weight"].neg_()
        for kept in state["optimiser"]["state"].values():
            kept["momentum_buffer"].zero_()

    record = half_way(tmp_path, spoil, lr=0.02)
    assert "held-out clean accuracy fell from" in record["events"][0]
    assert record["best"]["clean"] > 0.5


def test_a_run_that_collapses_again_and_again_gives_up_in_one_sentence(tmp_path):
    settings = small(write_arrays(tmp_path), epochs=1, lr=1e30, clip=0.0, warmup=0.0)
    with pytest.raises(ZooError, match=r"collapsed 4 times.*start again with --set lr=SMALLER"):
        train(settings, tmp_path / "run")


def test_a_plan_fits_the_steps_that_are_left_into_the_time_that_is_left():
    recipe = get_recipe("standard")
    plan = replan(
        recipe,
        Plan(0, 0.0, 1000),
        step=100,
        left=1000.0,
        seconds_per_pass=0.5,
        validation_seconds=20.0,
        steps_per_epoch=50,
    )
    assert (plan.first, plan.share) == (100, 0.1)
    steps = plan.last - plan.first
    spent = steps * (0.5 * mean_passes(recipe, 0.1) + 20 / 50) + 20
    assert 990 < spent <= 1000


def test_no_time_left_means_no_steps_left():
    recipe = get_recipe("standard")
    speed = {"seconds_per_pass": 1.0, "validation_seconds": 5.0, "steps_per_epoch": 10}
    assert replan(recipe, Plan(0, 0.0, 50), 7, left=-3.0, **speed).last == 7


@pytest.mark.slow
def test_a_run_ends_within_its_budget_with_its_schedule_complete(tmp_path):
    settings = small(write_arrays(tmp_path), epochs=10**6, time_budget=20.0, ema=0.9)
    started = time.monotonic()
    record = train(settings, tmp_path / "run")
    assert 10 < time.monotonic() - started < 22  # a busy machine may take a little longer
    assert record["steps"] > 10
    assert record["last"]["lr"] < 0.2 * settings.recipe.lr
