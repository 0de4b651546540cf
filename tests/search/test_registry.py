"""A search added from outside the package: from its registration to a genotype."""

import json
from dataclasses import dataclass

import pytest
import torch

from robnet_zoo import create_model
from robnet_zoo.genotypes import read_genotype
from robnet_zoo.runtime.decode import Amount
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.search.__main__ import main
from robnet_zoo.search.core.recipe import SoftmaxRecipe
from robnet_zoo.search.core.softmax import INITIAL_SCALE, SoftmaxSearch
from robnet_zoo.search.core.spaces import EDGES, darts_space
from robnet_zoo.search.core.supernet import CellWeights
from robnet_zoo.search.registry import SEARCHES, register_search
from robnet_zoo.search.run.command import SearchCommand


@dataclass(frozen=True, kw_only=True)
class DartsRecipe(SoftmaxRecipe):
    """DARTS on attacked images; `natural` is the weight of the clean ones in the outer loss."""

    natural: Amount = 1.0

    def space(self):
        return darts_space(self.layers, partial=1)


class DartsSearch(SoftmaxSearch[DartsRecipe]):
    """The architecture descends the held images' loss, the weights that of attacked ones."""

    algorithm = "darts"

    def draw_scores(self, generator):
        shape = (len(self.space.roles), EDGES, len(self.space.operations))
        return (INITIAL_SCALE * torch.randn(shape, generator=generator)).unbind()

    def mixture(self, architecture):
        weights = [CellWeights(scores.softmax(1)) for scores in architecture]
        return dict(zip(self.space.roles, weights, strict=True))

    def step(self, context, batch, held):
        cells = self.mixture(self.architecture)
        attacked, attacked_held = self.attacked(context, "noise", cells, batch, held)
        clean, robust = self.classification(held), self.classification(attacked_held)

        def outer(weights, scores):
            return robust(weights, scores) + self.recipe.natural * clean(weights, scores)

        (gradient,) = self.gradients([outer], self.classification(attacked), context.lr)
        self.arch_optimizer.step(gradient.gradient)
        loss = self.train_weights(context, self.mixture(self.architecture), attacked)
        return {"loss": loss, "held": gradient.loss}


RECIPES = {
    "smoke": DartsRecipe(
        name="smoke",
        claim="shows that all parts work",
        source="this test",
        dataset="digits",
        images=16,
        epochs=2,
        batch_size=8,
        channels=2,
        layers=3,
        lr=0.05,
        attack_steps=1,
    )
}
COMMAND = SearchCommand(RECIPES, lambda: DartsSearch, {"natural": "weight of clean images"})


@pytest.fixture
def registered():
    register_search("darts", "DARTS on attacked images", COMMAND)
    yield
    del SEARCHES["darts"]


def test_a_registered_search_runs_by_its_name_to_a_genotype(registered, tmp_path):
    out = tmp_path / "search"
    options = ["--smoke", "--natural", "0.5", "--set", "order=first", "--device", "cpu"]
    assert main(["darts", *options, "--out", str(out)]) == 0
    genotype = read_genotype(out / "genotype.json")
    assert (genotype.name, genotype.status) == ("darts-digits-seed0", "searched here")
    record = json.loads((out / "record.json").read_text())
    assert record["algorithm"] == "darts"
    assert record["recipe"]["natural"] == 0.5
    assert record["recipe"]["order"] == "first"
    model = create_model(f"cells:{out / 'genotype.json'}", channels=4, layers=3, in_channels=1)
    assert model(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    longer = [*options, "--epochs", "3", "--resume"]
    assert main(["darts", *longer, "--out", str(out)]) == 2  # other settings are refused


def test_its_range_and_its_settings_are_checked(registered, tmp_path, capsys):
    for words, message in (
        (["--natural", "-1"], "natural=-1.0"),
        (["--set", "nature=1"], "did you mean natural"),
    ):
        assert main(["darts", "--smoke", *words, "--out", str(tmp_path / "x")]) == 2
        assert message in capsys.readouterr().err


def test_help_lists_it(registered, capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "DARTS on attacked images" in capsys.readouterr().out


def test_a_name_is_given_once(registered):
    with pytest.raises(ZooError, match="'darts' already"):
        register_search("darts", "another", COMMAND)
