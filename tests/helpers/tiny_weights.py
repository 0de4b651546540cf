"""Weights folders small enough to make in a test."""

import json

import torch
from safetensors.torch import load_file, save_file

from robnet_zoo.runtime.files import sha256_of
from robnet_zoo.zoo import save_weights
from robnet_zoo.zoo.blueprints import blueprint

TINY = {"channels": 4, "layers": 3, "in_channels": 1}


def save_tiny(folder, model="racl", **overrides):
    """Save a tiny network whose batch statistics differ from their initial values.

    A size that is None is left at its published value.
    """
    sizes = {key: size for key, size in {**TINY, **overrides}.items() if size is not None}
    design = blueprint(model, **sizes)
    network = design.build()
    generator = torch.Generator().manual_seed(3)
    for name, buffer in network.named_buffers():
        if name.endswith(("mean", "var")):
            buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    config = {
        "name": folder.name,
        **design.config(),
        "dataset": "digits",
        "image_size": 8,
        "threat_model": {"name": "digits", "norm": "Linf", "epsilon": "0.15"},
        "training": {"recipe": "test", "seed": 0, "epochs": 1},
        "results": {
            "n": 450,
            "clean": {"accuracy": 0.953, "low": 0.93, "high": 0.97},
            "pgd20": {"accuracy": 0.704, "low": 0.66, "high": 0.744},
            "record": "eval/results/racl.tiny.json",
            "date": "2026-11-21T10:00:00+00:00",
        },
        "licence": "MIT",
    }
    return network, save_weights(network, folder, config, dtype=torch.float16)


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def replace_file(folder, content):
    """Put other bytes in the place of the tensors, with a config.json that vouches for them."""
    path = folder / "model.safetensors"
    path.write_bytes(content)
    edit_config(folder, sha256=sha256_of(path), size_bytes=path.stat().st_size)


def edit_tensors(folder, edit):
    """Change the stored tensors by edit(dict), with a config.json that vouches for them."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path)
    replace_file(folder, path.read_bytes())
