"""Runs that go wrong are noticed, rolled back and reported; time budgets are kept."""

import dataclasses
import json
import re

import pytest
import torch
from helpers.training import TRAINED, quick, write_arrays

from robnet_zoo.data import load_split
from robnet_zoo.runtime import console
from robnet_zoo.runtime.checkpoint import load_checkpoint, save_checkpoint
from robnet_zoo.runtime.distributed import ProcessGroup
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.train.budget import PROBE, WARM_UP, TimeBudget, reschedule
from robnet_zoo.train.build import build_run
from robnet_zoo.train.recipes import get_recipe
from robnet_zoo.train.schedule import Schedule, learning_rate, mean_passes, passes
from robnet_zoo.train.session import train
from robnet_zoo.train.validate import validate


def spoiled(tmp_path, recipe, spoil, **changes):
    """Train eight epochs, spoil the last checkpoint, return the record of four more epochs."""
    run = tmp_path / "run"
    settings = quick(write_arrays(tmp_path), recipe, epochs=8, ema=0.0, lr=0.02, **changes)
    train(settings, run)
    for name in ("best.pt", "last.pt"):
        state = load_checkpoint(run / name)
        state["position"]["plan"] = (0, 0.0, 48)
        if name == "last.pt":
            spoil(state)
        save_checkpoint(run / name, state)
    settings = settings.fitted(TRAINED)
    record = train(settings, run, resume=True)
    assert json.loads((run / "record.json").read_text()) == record
    assert record["steps"] == 48
    return record


def test_a_loss_that_is_not_finite_is_rolled_back(tmp_path):
    def spoil(state):
        state["model"]["classifier.weight"].fill_(float("nan"))

    record = spoiled(tmp_path, "natural", spoil)
    (event,) = record["events"]
    assert "loss is not finite; rolled back to epoch" in event
    final = load_checkpoint(tmp_path / "run" / "last.pt")
    assert all(torch.isfinite(tensor).all() for tensor in final["model"].values())


def test_an_accuracy_that_stays_lost_is_rolled_back(tmp_path):
    def spoil(state):
        state["model"]["classifier.weight"].neg_().mul_(20)

    record = spoiled(tmp_path, "natural", spoil)
    (event,) = record["events"]
    assert event.startswith("epoch 10, ")  # one epoch is allowed for recovery
    assert "held-out clean accuracy fell from" in event
    assert record["last"]["raw_clean"] > 0.4


def test_robust_accuracy_lost_alone_is_rolled_back_at_once(tmp_path):
    def spoil(state):
        state["position"]["history"][0]["raw_robust"] = 1.0  # as if it had been robust before

    record = spoiled(tmp_path, "standard", spoil)
    (event,) = record["events"]
    assert event.startswith("epoch 9, ")
    assert "held-out robust accuracy fell from 100.0% to" in event


def test_a_run_that_collapses_again_and_again_gives_up_in_one_sentence(tmp_path):
    settings = quick(write_arrays(tmp_path), epochs=1, lr=1e30, clip=0.0, warmup=0.0)
    with pytest.raises(ZooError, match=r"collapsed 4 times.*start again with --set lr=SMALLER"):
        train(settings, tmp_path / "run")


def test_a_schedule_fits_the_steps_that_are_left_into_the_time_that_is_left():
    recipe = get_recipe("standard")
    schedule = reschedule(
        recipe,
        Schedule(0, 0.0, 1000),
        step=100,
        left=1000.0,
        seconds_per_pass=0.5,
        validation_seconds=20.0,
        steps_per_epoch=50,
    )
    assert (schedule.first, schedule.start) == (100, 0.1)
    steps = schedule.last - schedule.first
    spent = steps * (0.5 * mean_passes(recipe, 0.1) + 20 / 50) + 20
    assert 990 < spent <= 1000


def test_no_time_left_means_no_steps_left():
    recipe = get_recipe("standard")
    speed = {"seconds_per_pass": 1.0, "validation_seconds": 5.0, "steps_per_epoch": 10}
    assert reschedule(recipe, Schedule(0, 0.0, 50), 7, left=-3.0, **speed).last == 7


@pytest.mark.parametrize("slower", [1.0, 3.0])
@pytest.mark.parametrize("recipe", ["fast", "standard"])
def test_a_run_ends_within_its_budget_with_its_schedule_complete(tmp_path, recipe, slower):
    """Steps and validations cost what is set here; half-way they begin to cost more."""
    budget, seconds = 4000.0, 0.0
    settings = quick(write_arrays(tmp_path), recipe, epochs=10**6).fitted(TRAINED)
    dataset, images = load_split(settings.dataset, "train", threat_model="digits")
    run = build_run(settings, dataset, images, images.subset(torch.arange(20)), ProcessGroup())
    clock = TimeBudget(budget, now=lambda: seconds, ticked=0.0)
    state, said = run.state, []
    while state.step < run.schedule.last:
        factor = slower if seconds > budget / 2 else 1.0
        seconds += factor * 0.5 * passes(settings.recipe, run.schedule.progress(state.step))
        state.step += 1
        clock.count_step(run)
        state.plan = dataclasses.astuple(clock.schedule(run))
        said.append((seconds, clock.seconds_left(run)))
        if state.step % run.steps_per_epoch == 0 or state.step == run.schedule.last:
            seconds += factor * 2.0
            clock.count_validation(run)
            state.plan = dataclasses.astuple(clock.schedule(run))
    assert state.seconds == seconds
    assert 0.97 * budget < seconds <= budget
    then, left = next(point for point in said if point[0] >= 0.05 * budget)
    assert 0.5 < left / (seconds - then) < 2
    final = learning_rate(settings.recipe, run.schedule.progress(state.step - 1))
    assert final < 0.01 * settings.recipe.peak_lr()


def test_a_budget_ends_a_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(console, "PLAIN_SECONDS", 0.0)  # a line each step
    settings = quick(write_arrays(tmp_path), epochs=10**6, time_budget=5.0)
    record = train(settings, tmp_path / "run")
    assert record["steps"] >= WARM_UP + PROBE
    assert record["best"]["epoch"] >= 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("epoch 1: ")  # of how many is not known yet
    assert re.match(r"epoch 2/\d{1,4}: ", next(line for line in lines if "epoch 2/" in line))


def test_a_schedule_counts_the_validations_there_will_be():
    recipe = dataclasses.replace(get_recipe("slot"), validate_every=4)
    schedule = reschedule(
        recipe,
        Schedule(0, 0.0, 1000),
        step=0,
        left=1000.0,
        seconds_per_pass=0.5,
        validation_seconds=20.0,
        steps_per_epoch=50,
    )
    epochs = schedule.last / 50
    looks = epochs / 4 + 4 * 3 / 4 + 1  # each fourth, the last four, and the end
    assert 980 < schedule.last * 0.5 * 3 + looks * 20 <= 1000


def test_held_out_images_are_looked_at_every_so_often_and_in_the_last_four_epochs(tmp_path):
    settings = quick(write_arrays(tmp_path), "slot", epochs=11, steps=1, validate_every=3)
    record = train(settings, tmp_path / "run")
    state = load_checkpoint(tmp_path / "run" / "last.pt")
    history = state["position"]["history"]
    looked = [row["epoch"] for row in history if row["ema_robust"] is not None]
    assert looked == [3, 6, 8, 9, 10, 11]
    assert [row["epoch"] for row in history] == list(range(1, 12))
    assert record["best"]["epoch"] in looked
    rows = (tmp_path / "run" / "history.csv").read_text().splitlines()
    assert len(rows) == 12 and rows[1].count(",,") == 2


def test_every_image_counts_once_however_batches_are_filled(tmp_path):
    _, digits = load_split(write_arrays(tmp_path), "train", threat_model="digits")
    right = digits.labels.clone()
    right[::7] += 1  # 26 of 180 are wrong

    class Split:
        labels, device = digits.labels, digits.device

        def __len__(self):
            return len(right)

        def images(self, indices):
            self.sizes.append(len(indices))
            return indices.to(torch.uint8)[:, None, None, None]

    def model(x):
        return torch.nn.functional.one_hot(right[(x[:, 0, 0, 0] * 255).round().long()] % 10, 10)

    for size in (7, 50, 64, 180, 1000):
        split = Split()
        split.sizes = []
        score = validate(model, split, None, batch_size=size, seed=0, processes=ProcessGroup())
        assert score.clean == pytest.approx(1 - 26 / 180)
        assert len(set(split.sizes)) == 1 and split.sizes[0] <= size
