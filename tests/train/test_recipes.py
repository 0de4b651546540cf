import dataclasses
import json

import pytest
import torch
from helpers.training import small, write_arrays

from robnet_zoo import create_model
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.options import parse_duration
from robnet_zoo.threat_models import get_threat_model
from robnet_zoo.train.__main__ import main
from robnet_zoo.train.recipes import RECIPES, get_recipe, override, read_recipe, register_recipe
from robnet_zoo.train.schedule import Schedule, crafting, learning_rate, mean_passes, stage_at
from robnet_zoo.train.session import train
from robnet_zoo.train.settings import Settings, read_settings

CIFAR = get_threat_model("cifar10")


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [(0, 0.02), (1, 0.079), (10, 0.61), (19, 1.141), (20, 1.2), (95, 0.6005), (169, 0.00113148)],
)
def test_robnet_learning_rates_are_those_of_the_official_script(epoch, rate):
    assert learning_rate(get_recipe("paper-robnet"), epoch / 170) == pytest.approx(rate, rel=1e-5)


@pytest.mark.parametrize(
    ("recipe", "first_drop", "second_drop"), [("paper-arnas", 99, 149), ("advrush", 100, 150)]
)
def test_piecewise_rates_fall_to_a_tenth_at_the_papers_epochs(recipe, first_drop, second_drop):
    rates = [learning_rate(get_recipe(recipe), epoch / 200) for epoch in range(200)]
    assert rates[first_drop - 1] == 0.1
    assert rates[first_drop] == pytest.approx(0.01)
    assert rates[second_drop - 1] == pytest.approx(0.01)
    assert rates[second_drop] == pytest.approx(0.001)


def test_one_cycle_climbs_to_the_scaled_peak_and_falls_to_nothing():
    recipe = get_recipe("standard")
    assert recipe.peak_lr() == pytest.approx(0.1 * 512 / 128)
    rates = [learning_rate(recipe, step / 1000) for step in range(1000)]
    assert max(rates) == rates[350] == pytest.approx(0.4)
    assert rates[0] == 0
    assert rates[-1] < 0.001


def test_crafting_meets_the_papers_settings_on_cifar10():
    robnet = crafting(get_recipe("paper-robnet"), CIFAR)
    assert (robnet.steps, robnet.clip_start) == (7, False)
    assert robnet.step_size == pytest.approx(2 / 255)
    arnas = crafting(get_recipe("paper-arnas"), CIFAR)
    assert (arnas.steps, arnas.start) == (7, "gaussian")
    assert arnas.step_size == pytest.approx(0.01)
    fast = crafting(get_recipe("fast"), CIFAR)
    assert (fast.steps, fast.project) == (1, False)
    assert fast.step_size == pytest.approx(8 / 255)
    assert fast.start_size == pytest.approx(16 / 255)


def test_standard_starts_with_three_steps_and_ends_with_seven():
    recipe = get_recipe("standard")
    early, late = (
        crafting(recipe, CIFAR, early=stage_at(recipe, share).early) for share in (0.59, 0.6)
    )
    assert (early.steps, late.steps) == (3, 7)
    assert early.step_size == pytest.approx(4 / 255)
    assert late.step_size == pytest.approx(2 / 255)
    assert mean_passes(recipe, 0.0) == pytest.approx(0.6 * 4 + 0.4 * 8)
    assert mean_passes(recipe, 0.8) == pytest.approx(8)


def test_a_step_keeps_its_share_of_epsilon_on_every_data_set():
    for name in ("digits", "mnist", "imagenet"):
        threat = get_threat_model(name)
        adversary = crafting(get_recipe("paper-robnet"), threat)
        assert adversary.step_size == pytest.approx(threat.epsilon.value / 4)


def test_robnet_spares_batch_norm_and_biases_from_weight_decay():
    from robnet_zoo.data import load_split
    from robnet_zoo.runtime.distributed import ProcessGroup
    from robnet_zoo.train.build import build_run

    dataset, digits = load_split("digits", "train")
    settings = Settings(
        model="robnet_free",
        dataset="digits",
        recipe=get_recipe("paper-robnet"),
        channels=4,
        layers=20,
    )
    run = build_run(settings.fitted(len(digits)), dataset, digits, digits, ProcessGroup())
    decayed, spared = run.optimizer.param_groups
    names = {id(parameter): name for name, parameter in run.model.named_parameters()}
    assert decayed["weight_decay"] == 1e-4
    assert spared["weight_decay"] == 0
    # the cells' batch norms have no affine part: a stem's and the classifier's are all there is
    assert sorted(names[id(p)] for p in spared["params"]) == [
        "classifier.bias",
        "stem.1.bias",
        "stem.1.weight",
    ]


def test_a_new_schedule_goes_on_from_the_progress_that_is_reached():
    schedule = Schedule(0, 0.0, 100)
    assert [schedule.progress(0), schedule.progress(25), schedule.progress(100)] == [0, 0.25, 1]
    longer = Schedule(25, schedule.progress(25), 325)
    assert longer.progress(25) == 0.25
    assert longer.progress(175) == pytest.approx(0.625)
    assert longer.progress(325) == 1


def test_batches_shrink_with_the_data_set_unless_one_is_asked_for():
    standard = Settings(model="racl", dataset="digits", recipe=get_recipe("standard"))
    assert standard.fitted(48000).recipe.batch_size == 512
    assert standard.fitted(1147).recipe.batch_size == 32
    asked = Settings(model="racl", dataset="digits", recipe=get_recipe("standard"), batch_size=100)
    assert asked.fitted(1147).recipe.batch_size == 100
    robnet = Settings(model="racl", dataset="cifar10", recipe=get_recipe("paper-robnet"))
    assert robnet.fitted(48000).recipe.batch_size == 1536


def test_overrides_are_read_as_the_type_their_setting_has():
    changed = override(
        get_recipe("standard"),
        {"steps": "10", "lr": "0.05", "flip": "false", "loss": "mart", "milestones": "0.5,0.75"},
    )
    assert (changed.steps, changed.lr, changed.flip, changed.loss) == (10, 0.05, False, "mart")
    assert changed.milestones == (0.5, 0.75)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"step": "10"}, "Unknown recipe setting 'step'; did you mean steps"),
        ({"steps": "ten"}, "write a whole number"),
        ({"steps": "0"}, "steps=0 is out of range; it must be at least 1"),
        ({"flip": "yes"}, "write true or false"),
        ({"loss": "free"}, "write natural or pgd-at or trades or mart"),
        ({"lr": "nan"}, "lr=nan is out of range"),
        ({"lr": "inf"}, "lr=inf is out of range"),
        ({"ema": "1"}, "ema=1.0 is out of range; it must be at least 0 and below 1"),
        ({"name": "mine"}, "Unknown recipe setting 'name'"),
    ],
)
def test_a_wrong_override_is_told(values, told):
    with pytest.raises(ZooError, match=told):
        override(get_recipe("standard"), values)


def test_every_recipe_states_claim_cost_and_source():
    assert {"natural", "fast", "standard", "best"} < RECIPES.keys()
    assert {"paper-robnet", "paper-arnas", "advrush"} < RECIPES.keys()
    for recipe in RECIPES.values():
        assert all((recipe.claim, recipe.cost, recipe.source))


def test_durations():
    assert [parse_duration(text) for text in ("90s", "25m", "1h", "1.5h")] == [90, 1500, 3600, 5400]
    for text in ("25", "m", "0s", "-1m", "1d", ""):
        with pytest.raises(ZooError, match="write 90s, 25m or 1h"):
            parse_duration(text)


def test_arnas_recipe_builds_the_auxiliary_head_at_the_image_size():
    settings = Settings(model="arnas", dataset="digits", recipe=get_recipe("paper-arnas"))
    model = create_model(
        "arnas", channels=4, layers=6, in_channels=1, **settings.model_arguments(8)
    )
    logits, auxiliary = model.forward_with_auxiliary(torch.rand(2, 1, 8, 8))
    assert logits.shape == auxiliary.shape == (2, 10)
    assert torch.isfinite(auxiliary).all()


# Recipes of one's own

MINE = """
base = "fast"  # the settings that are not named here
claim = "fast, and weights perturbed"
epochs = 1
batch_size = 60
awp = 0.01
"""


@pytest.fixture
def _registered(monkeypatch):
    monkeypatch.setattr("robnet_zoo.train.recipes.RECIPES", dict(RECIPES))


def test_a_registered_recipe_trains(_registered, tmp_path):
    recipe = dataclasses.replace(get_recipe("fast"), name="mine", epochs=1, batch_size=60)
    register_recipe(recipe)
    settings = small(write_arrays(tmp_path), "mine")
    record = train(settings, tmp_path / "run")
    assert record["settings"]["recipe"]["name"] == "mine" and record["steps"] >= 1
    with pytest.raises(ZooError, match="a recipe 'mine' already; choose another name"):
        register_recipe(recipe)


def test_a_recipe_of_a_file_trains_and_its_run_is_resumed(tmp_path, capsys):
    path, run = tmp_path / "mine.toml", tmp_path / "run"
    path.write_text(MINE)
    fast = get_recipe("fast")
    changes = {"name": "mine", "claim": "fast, and weights perturbed", "cost": "", "source": ""}
    changes |= {"epochs": 1, "batch_size": 60, "awp": 0.01}
    assert read_recipe(path) == dataclasses.replace(fast, **changes)
    options = ["--model", "racl", "--dataset", write_arrays(tmp_path), "--threat-model", "digits"]
    options += ["--channels", "4", "--layers", "3", "--out", str(run), "--recipe", str(path)]
    assert main(options) == 0
    assert read_settings(run).recipe.awp == 0.01
    resume = ["--resume", "--out", str(run), "--recipe", str(path)]
    assert main(resume) == 0
    path.write_text(MINE.replace("0.01", "0.02"))
    assert main(resume) == 2
    assert "recipe awp=0.01, so it cannot be resumed with 0.02" in capsys.readouterr().err


def test_a_recipe_is_read_from_json_and_names_itself(tmp_path):
    path = tmp_path / "file.json"
    path.write_text('{"name": "own", "epochs": 3, "batch_size": 16, "milestones": [0.5, 1]}')
    recipe = get_recipe(str(path))
    assert (recipe.name, recipe.epochs, recipe.milestones) == ("own", 3, (0.5, 1.0))
    written = json.loads(json.dumps(dataclasses.asdict(recipe)))
    path.write_text(json.dumps(written))
    assert get_recipe(str(path)) == recipe


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epochs = 1", "incomplete or wrong: .*batch_size"),
        ('base = "fats"', "base in the recipe .*'fats'; did you mean fast"),
        ('base = "fast"\nepoch = 1', "setting in the recipe .*'epoch'; did you mean epochs"),
        ('base = "fast"\nepochs = 0', "epochs=0 is out of range; it must be at least 1"),
        (
            'base = "fast"\nepochs = 1.5',
            "epochs=1.5 is out of range; it must be a whole number, at least 1",
        ),
        ('base = "fast"\nlr = "a"', "lr=a is out of range; it must be a number, above 0"),
        ('base = "fast"\nloss = "free"', "loss=free .* natural or pgd-at or trades or mart"),
        ('base = "fast"\nema = nan', "ema=nan .* a number, at least 0 and below 1"),
        ("epochs = ", "is not TOML"),
    ],
)
def test_a_wrong_file_is_told(tmp_path, text, said):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ZooError, match=said):
        get_recipe(str(path))
    with pytest.raises(ZooError, match=r"Cannot read the recipe '.*none\.toml'"):
        get_recipe(str(tmp_path / "none.toml"))


def test_settings_are_checked_however_they_are_made():
    with pytest.raises(ZooError, match=r"batch_size=0 .* must be at least 1, or none"):
        Settings(model="racl", dataset="digits", recipe=get_recipe("fast"), batch_size=0)
    with pytest.raises(ZooError, match=r"layout=mixed .* channels_last or contiguous"):
        Settings(model="racl", dataset="digits", recipe=get_recipe("fast"), layout="mixed")
