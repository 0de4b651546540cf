"""The shared room of the searches: data, loop, optimizers, recipes and discretisation."""

import dataclasses
import errno
import os
import re
import signal

import pytest
import torch
import torch.nn.functional as F

from robnet_zoo import create_model
from robnet_zoo.genotypes import CellGenotype, genotype_to_dict
from robnet_zoo.runtime import console
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import write_text
from robnet_zoo.runtime.lock import hold
from robnet_zoo.runtime.signals import Stopped
from robnet_zoo.search.arnas.recipe import RECIPES as ARNAS_RECIPES
from robnet_zoo.search.core.discretise import best_two_edges
from robnet_zoo.search.core.optimizers import (
    WeightOptimizer,
    craft,
    search_adversary,
    seeded_supernet,
)
from robnet_zoo.search.core.spaces import DARTS_OPERATIONS, EDGES, darts_space
from robnet_zoo.search.core.supernet import CellWeights, Supernet
from robnet_zoo.search.dsrna.recipe import RECIPES as DSRNA_RECIPES
from robnet_zoo.search.racl.recipe import RECIPES as RACL_RECIPES
from robnet_zoo.search.robnet.recipe import RECIPES, RobNetRecipe
from robnet_zoo.search.run.data import load_search_data
from robnet_zoo.search.run.finite import check_finite
from robnet_zoo.search.run.loop import run_search
from robnet_zoo.search.run.recipe import SearchRecipe, read_recipe, recipe_of, write_recipe

ROBNET, RACL, ARNAS, DSRNA = (
    recipes["smoke"] for recipes in (RECIPES, RACL_RECIPES, ARNAS_RECIPES, DSRNA_RECIPES)
)
RECIPE = SearchRecipe(
    name="test",
    claim="none",
    source="here",
    dataset="digits",
    images=48,
    epochs=2,
    batch_size=8,
    channels=4,
    layers=3,
    lr=0.05,
    attack_steps=1,
)


class Uniform:
    """A search whose architecture never changes: it shows what the loop does."""

    def __init__(self, recipe, data, stop_at=None):
        torch.manual_seed(recipe.seed)
        self.recipe, self.data, self.stop_at = recipe, data, stop_at
        self.space = darts_space(recipe.layers, partial=1)
        self.supernet = Supernet(self.space, channels=recipe.channels, in_channels=1).train()
        self.weight_optimizer = WeightOptimizer(self.supernet, recipe, data.processes)
        uniform = CellWeights(torch.full((EDGES, 8), 1 / 8))
        self.weights = dict.fromkeys(self.space.roles, uniform)
        self.adversary = search_adversary(recipe, data.threat)

    def step(self, context, batch, held):
        draws = context.generator("noise")
        attacked = craft(self.supernet, self.weights, self.adversary, batch, draws)
        loss = F.cross_entropy(self.supernet(attacked.images, self.weights), batch.labels)
        self.weight_optimizer.step(loss, context.lr)
        if (context.epoch, context.index) == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return {"loss": loss.detach()}

    def end_epoch(self, epoch):
        return {}

    def state(self):
        return self.weight_optimizer.state()

    def load(self, state):
        self.weight_optimizer.load(state)


@pytest.fixture(scope="module")
def data():
    return load_search_data(RECIPE)


def test_stopped_search_goes_on_bitwise(data, tmp_path):
    whole = Uniform(RECIPE, data)
    rows = run_search(whole, data, RECIPE, tmp_path / "whole")
    with pytest.raises(Stopped):
        first = Uniform(RECIPE, data, stop_at=(1, 0))
        run_search(first, data, RECIPE, tmp_path / "cut", resume=True)  # starts it
    resumed = Uniform(RECIPE, data)
    reworded = dataclasses.replace(RECIPE, claim="said otherwise")
    again = run_search(resumed, data, reworded, tmp_path / "cut", resume=True)
    assert [row["loss"] for row in again] == [row["loss"] for row in rows]
    for one, other in zip(
        whole.supernet.state_dict().values(), resumed.supernet.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other)
    log = (tmp_path / "cut" / "history.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in log] == ["epoch", "1", "2"]


def test_folder_of_another_search_is_refused(data, tmp_path):
    run_search(Uniform(RECIPE, data), data, dataclasses.replace(RECIPE, epochs=1), tmp_path)
    with pytest.raises(ZooError, match="add --resume"):
        run_search(Uniform(RECIPE, data), data, RECIPE, tmp_path)
    other = dataclasses.replace(RECIPE, epochs=1, lr=0.1)
    with pytest.raises(ZooError, match=r"lr=0\.05, not 0\.1"):
        run_search(Uniform(other, data), data, other, tmp_path, resume=True)


def test_a_folder_in_use_or_with_a_record_is_refused(data, tmp_path):
    with hold(tmp_path), pytest.raises(ZooError, match="Another process is at work"):
        run_search(Uniform(RECIPE, data), data, RECIPE, tmp_path)
    (tmp_path / "record.json").write_text("{}")
    with pytest.raises(ZooError, match="already holds a search"):
        run_search(Uniform(RECIPE, data), data, RECIPE, tmp_path)


def test_what_is_not_finite_stops_a_search_before_it_is_saved(data, tmp_path):
    recipe = dataclasses.replace(RECIPE, lr=1e30, epochs=1, attack_steps=0)
    with pytest.raises(ZooError, match=r"cannot go on: .* is nan .*; lower"):
        run_search(Uniform(recipe, data), data, recipe, tmp_path)
    assert not (tmp_path / "last.pt").exists()


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"loss": float("nan")}, "loss is nan"),
        ({"rows": [1.0, None, {"deep": float("-inf")}]}, "rows.2.deep is -inf"),
        ({"weights": [torch.tensor([1.0, float("inf")])]}, "weights.0 is not finite"),
        ({"log_lambda": torch.tensor([float("nan"), 0.0])}, "log_lambda is not finite"),
    ],
)
def test_numbers_that_are_not_finite_are_named(values, name):
    check_finite({"log_lambda": torch.tensor([float("-inf")]), "theta": 0.0, "step": 3}, "now")
    with pytest.raises(ZooError, match=f"{re.escape(name)} now"):
        check_finite(values, "now")


def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(tmp_path, capsys, monkeypatch):
    write_text(tmp_path / "log.csv", "old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert console.run(lambda: write_text(tmp_path / "log.csv", "new")) == 2
    assert capsys.readouterr().err == (
        f"error: Cannot write '{tmp_path / 'log.csv'}': No space left on device.\n"
    )
    assert [file.name for file in tmp_path.iterdir()] == ["log.csv"]
    assert (tmp_path / "log.csv").read_text() == "old"


@pytest.mark.parametrize(
    ("side", "batch", "message"),
    [(6, 8, "side must be a multiple of 4"), (4, 1, "at least 2 images a process")],
)
def test_images_that_a_supernet_cannot_take_are_refused(data, side, batch, message):
    dataset = dataclasses.replace(data.dataset, image_size=side)
    recipe = dataclasses.replace(RECIPE, batch_size=batch)
    with pytest.raises(ZooError, match=message):
        seeded_supernet(darts_space(3, 1), recipe, dataclasses.replace(data, dataset=dataset))


@pytest.mark.parametrize(
    ("recipe", "changes", "message"),
    [
        (ROBNET, {"space": "free", "architectures": 30, "fsp_candidates": 20}, "measure as many"),
        (ROBNET, {"keep": 1e-9}, "at least 0.01"),
        (ROBNET, {"layers": 10**30}, "at most 1000"),
        (ROBNET, {"lr_end": 1.0}, "lr_end=1.0 is above lr=0.1"),
        (ROBNET, {"lr": 1e308}, "above 0, and no larger than 3.4e[+]38"),
        (ROBNET, {"seed": 2**63}, "at most"),
        (ROBNET, {"momentum": 1.0}, "below 1"),
        (RACL, {"warmup": 4}, "leaves nothing of epochs=4"),
        (RACL, {"log_target": float("nan")}, "log_target=nan is out of range"),
        (RACL, {"target_drop": float("inf")}, "target_drop=inf is out of range"),
        (DSRNA, {"warmup": 2}, "leaves nothing of epochs=2"),
        (ARNAS, {"architecture_betas": (0.5, 1.0)}, "architecture_betas"),
        (ARNAS, {"multiples": (1, 2, 10**9)}, "from 1 to 64"),
    ],
)
def test_settings_that_cannot_be_are_refused(recipe, changes, message):
    with pytest.raises(ZooError, match=message):
        dataclasses.replace(recipe, **changes)


def test_halves_are_disjoint_and_validation_is_neither(data):
    seen = [
        {row.numpy().tobytes() for row in split.images(torch.arange(len(split)))}
        for split in (*(stream.split for stream in data.streams), data.validation)
    ]
    assert len(seen[0]) == len(seen[1]) == 24
    # a few digits of the data set are the same image twice
    assert len(seen[0] & seen[1]) + len(seen[0] & seen[2]) + len(seen[1] & seen[2]) <= 1


def test_every_image_once_an_epoch_in_another_order(data):
    stream = data.streams[0]
    labels = [torch.cat([stream.at(epoch, i).labels for i in range(3)]) for epoch in (0, 1)]
    assert not torch.equal(*labels)
    assert torch.equal(*(each.sort().values for each in labels))


def test_crafting_stays_in_the_ball_and_raises_the_loss(data):
    search = Uniform(RECIPE, data)
    strong = dataclasses.replace(RECIPE, attack_steps=5)
    adversary = search_adversary(strong, data.threat)
    batch = data.streams[0].at(0, 0)
    draws = torch.Generator().manual_seed(0)
    attacked = craft(search.supernet, search.weights, adversary, batch, draws, mode="eval")
    change = (attacked.images - batch.images).abs().max()
    assert 0 < change <= data.threat.epsilon.value + 1e-6
    assert attacked.images.min() >= 0 and attacked.images.max() <= 1
    assert search.supernet.training
    search.supernet.eval()
    before, after = (
        F.cross_entropy(search.supernet(images, search.weights), batch.labels)
        for images in (batch.images, attacked.images)
    )
    assert after > before


def test_best_two_edges_keeps_the_two_best_and_never_none():
    scores = torch.full((EDGES, 8), 0.1)
    scores[:, 0] = 9.0  # "none" everywhere
    scores[0, 2], scores[1, 4] = 0.3, 0.5  # node 0 has two edges only
    scores[2, 3], scores[4, 5] = 0.8, 0.7  # node 1: sources 0 and 2
    scores[6, 6], scores[5, 7] = 0.9, 0.6  # node 2: sources 1 and 0
    scores[13, 1], scores[9, 2] = 0.4, 0.3  # node 3: sources 4 and 0
    cell = best_two_edges(scores, DARTS_OPERATIONS)
    assert cell.edges[1] == ("sep_conv_3x3", 1)
    assert cell.edges[2:4] == (("skip_connect", 0), ("sep_conv_5x5", 2))
    assert cell.edges[4:6] == (("dil_conv_5x5", 0), ("dil_conv_3x3", 1))
    assert cell.edges[6:8] == (("avg_pool_3x3", 0), ("max_pool_3x3", 4))


@pytest.mark.parametrize(("value", "message"), [(float("nan"), "not numbers"), (0.9, "tied")])
def test_no_cell_is_chosen_where_nothing_is_decided(value, message):
    scores = torch.rand(EDGES, 8)
    scores[0, 3], scores[0, 5] = 0.9 if value == 0.9 else 0.1, value
    scores[0, [1, 2, 4, 6, 7]] = 0.0
    with pytest.raises(ZooError, match=message):
        best_two_edges(scores, DARTS_OPERATIONS)


def test_discretised_cell_is_a_zoo_model(tmp_path):
    import json

    cell = best_two_edges(torch.rand(EDGES, 8), DARTS_OPERATIONS)
    genotype = CellGenotype("found", "searched here", "test", {"normal": cell, "reduce": cell})
    (tmp_path / "genotype.json").write_text(json.dumps(genotype_to_dict(genotype)))
    model = create_model(f"cells:{tmp_path / 'genotype.json'}", channels=4, layers=3)
    assert model(torch.rand(1, 3, 8, 8)).shape == (1, 10)


def test_recipe_survives_its_file(tmp_path):
    write_recipe(tmp_path / "recipe.toml", RECIPE)
    assert read_recipe(tmp_path / "recipe.toml", SearchRecipe) == RECIPE
    (tmp_path / "recipe.toml").write_text("epoch = 3\n")
    with pytest.raises(ZooError, match="epochs"):
        read_recipe(tmp_path / "recipe.toml", SearchRecipe)


def test_rate_falls_from_lr_to_its_end():
    recipe = dataclasses.replace(RECIPE, epochs=4, lr=0.4, lr_end=0.1)
    assert recipe.rate(0) == pytest.approx(0.4)
    assert recipe.rate(2) == pytest.approx(0.25)
    assert recipe.rate(4) == pytest.approx(0.1)


def test_a_recipe_file_is_checked_setting_by_setting(tmp_path):
    path = tmp_path / "recipe.toml"
    write_recipe(path, RECIPE)
    written = path.read_text()
    for line, message in (
        ("epocs = 3", "did you mean epochs"),
        ('seed = "three"', "seed=three is out of range; it must be a whole number"),
        ("momentum = -1", "momentum=-1 is out of range; it must be at least 0"),
    ):
        key = line.partition(" ")[0]
        kept = [other for other in written.splitlines() if not other.startswith(f"{key} ")]
        path.write_text("\n".join([*kept, line]) + "\n")
        with pytest.raises(ZooError, match=message):
            read_recipe(path, SearchRecipe)
    path.write_text("epochs = \n")
    with pytest.raises(ZooError, match="not TOML"):
        read_recipe(path, SearchRecipe)


def test_settings_under_older_names_are_still_read(tmp_path):
    path = tmp_path / "recipe.toml"
    recipe = dataclasses.replace(RECIPES["smoke"], fsp_candidates=7)
    write_recipe(path, recipe)
    path.write_text(path.read_text().replace("fsp_candidates", "flows"))
    assert read_recipe(path, RobNetRecipe) == recipe
    older = {"flows" if k == "fsp_candidates" else k: v for k, v in vars(recipe).items()}
    assert recipe_of(older, RobNetRecipe, "checkpoint") == recipe
