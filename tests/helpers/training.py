"""Small training runs that the tests of robnet_zoo.train share."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import torch

from robnet_zoo.train.recipes import get_recipe
from robnet_zoo.train.settings import Settings

IMAGES, TRAINED = 200, 180  # of the digits; 20 are held out


def write_arrays(folder: Path, **entries) -> str:
    """Write some of the digits as a user's own data set and return its name."""
    from robnet_zoo.data import load_split

    _, digits = load_split("digits", "train")
    chosen = torch.arange(IMAGES)
    path = folder / "digits.npz"
    pixels = digits.images(chosen).permute(0, 2, 3, 1).numpy()
    np.savez(path, x=pixels, y=digits.labels[chosen].numpy(), **entries)
    return f"arrays:{path}"


def small(dataset: str, recipe: str = "standard", *, seed: int = 0, **changes) -> Settings:
    """Return settings of a run of four steps an epoch that takes about a second."""
    known = {field.name for field in dataclasses.fields(Settings)}
    options = {name: changes.pop(name) for name in list(changes) if name in known}
    changes = {"epochs": 2, "steps": 2, "early_steps": 1} | changes
    return Settings(
        model=options.pop("model", "racl"),
        dataset=dataset,
        recipe=dataclasses.replace(get_recipe(recipe), **changes),
        batch_size=options.pop("batch_size", 45),
        channels=4,
        layers=3,
        seed=seed,
        threat_model="digits",
        **options,
    )


quick = functools.partial(small, model="darts_v2")  # which takes half as long


def weights_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Return every tensor that a later step depends on."""
    from robnet_zoo.runtime.checkpoint import load_checkpoint

    state = load_checkpoint(checkpoint)
    tensors = {f"model {name}": tensor for name, tensor in state["model"].items()}
    tensors |= {f"average {name}": tensor for name, tensor in (state["average"] or {}).items()}
    for index, kept in state["optimizer"]["state"].items():
        tensors[f"momentum {index}"] = kept["momentum_buffer"]
    return tensors


def assert_same(first: Path, second: Path) -> None:
    """Assert that two checkpoints hold the same tensors to the bit."""
    ours, theirs = weights_of(first), weights_of(second)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name
