"""The shared room of the searches: data, loop, optimizers, recipes and discretisation."""

import dataclasses
import os
import signal

import pytest
import torch
import torch.nn.functional as F

from robnet_zoo import create_model
from robnet_zoo.genotypes import CellGenotype, genotype_to_dict
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.signals import Stopped
from robnet_zoo.search.core.discretise import best_two_edges
from robnet_zoo.search.core.optimizers import WeightOptimizer, craft, search_adversary
from robnet_zoo.search.core.spaces import DARTS_OPERATIONS, EDGES, darts_space
from robnet_zoo.search.core.supernet import CellWeights, Supernet
from robnet_zoo.search.robnet.recipe import RECIPES, RobNetRecipe
from robnet_zoo.search.run.data import load_search_data
from robnet_zoo.search.run.loop import run_search
from robnet_zoo.search.run.recipe import SearchRecipe, read_recipe, recipe_of, write_recipe

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
        run_search(Uniform(RECIPE, data, stop_at=(1, 0)), data, RECIPE, tmp_path / "cut")
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
    scores[1, 4] = 0.5  # node 0 has two edges only
    scores[2, 3], scores[4, 5] = 0.8, 0.7  # node 1: sources 0 and 2
    scores[6, 6], scores[5, 7] = 0.9, 0.6  # node 2: sources 1 and 0
    scores[13, 1], scores[9, 2] = 0.4, 0.3  # node 3: sources 4 and 0
    cell = best_two_edges(scores, DARTS_OPERATIONS)
    assert cell.edges[1] == ("sep_conv_3x3", 1)
    assert cell.edges[2:4] == (("skip_connect", 0), ("sep_conv_5x5", 2))
    assert cell.edges[4:6] == (("dil_conv_5x5", 0), ("dil_conv_3x3", 1))
    assert cell.edges[6:8] == (("avg_pool_3x3", 0), ("max_pool_3x3", 4))


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
