"""`robnet-zoo export`: a network as a file for other programs."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from robnet_zoo.runtime.console import note
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.zoo.architectures import ARCHITECTURES

if TYPE_CHECKING:
    from robnet_zoo.zoo import HubModel
    from robnet_zoo.zoo.export import Export

SEED = 0  # of random weights


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Write a network as ONNX, as a program of torch.export, or as both. A file takes batches\n"
        "of any size with pixels in [0,1], and gives logits. It is run and held against the\n"
        "network before it takes its name."
    )
    add = parser.add_argument
    add(
        "name",
        help="racl.digits, local-dir:DIR or hf-hub:org/name; an architecture's name takes the best "
        "weights at hand",
    )
    add("--onnx", type=Path, metavar="FILE.onnx", help="the ONNX file")
    add("--torch", type=Path, metavar="FILE.pt2", help="the program of torch.export")
    add("--image-size", type=int, metavar="N", help="side of the images (default: the weights')")
    add("--untrained", action="store_true", help="random weights: NAME is racl or cells:FILE.json")
    add("--overwrite", action="store_true", help="replace files that are there already")


def run(options: argparse.Namespace) -> None:
    """Write the files, and say how well they agree with the network."""
    from robnet_zoo.zoo.export import (
        ONNX,
        PROGRAM,
        export_onnx,
        export_target,
        export_torch,
    )

    files = [
        (export, path, suffix)
        for export, path, suffix in (
            (export_onnx, options.onnx, ONNX),
            (export_torch, options.torch, PROGRAM),
        )
        if path is not None
    ]
    if not files:
        raise ZooError("There is no file to write; add --onnx FILE.onnx or --torch FILE.pt2.")
    for _, path, suffix in files:
        export_target(path, suffix, options.overwrite)
    model, size = options.name, options.image_size
    if options.untrained:
        size = _usual_size(model) if size is None else size
        model = _untrained(model)
        print(f"{options.name} with random weights of seed {SEED}")
    with _noted_warnings():
        for export, path, _ in files:
            _print(export(model, path, image_size=size, overwrite=options.overwrite))


def _untrained(name: str) -> HubModel:
    """Return a network with random weights, in eval mode.

    Raises:
        ZooError: the name is of weights.
    """
    from robnet_zoo.runtime.randomness import seeded
    from robnet_zoo.zoo import create_model

    scheme, colon, _ = name.partition(":")
    if scheme != "cells" if colon else "." in name:
        raise ZooError(
            f"'{name}' names weights; leave out --untrained, or name an architecture, such as racl."
        )
    with seeded(SEED):
        return create_model(name).eval()


def _usual_size(name: str) -> int | None:
    """Return the side of the images that an architecture's paper takes."""
    from robnet_zoo.data import dataset_info

    return dataset_info(ARCHITECTURES[name].dataset).image_size if name in ARCHITECTURES else None


def _print(made: Export) -> None:
    images = ", ".join(map(str, ("N", *made.input_shape)))
    against = "the stored ones and PyTorch's" if made.stored else "PyTorch's"
    difference, allowed = made.agreement.difference, made.agreement.allowed
    print(f"Written: {made.path} ({made.path.stat().st_size / 1e6:.2f} MB)")
    print(f"  images ({images}) with pixels in [0,1] -> logits (N, {made.classes})")
    print(f"  logits within {difference:.1e} of {against}; {allowed:.1e} are allowed")


@contextmanager
def _noted_warnings() -> Iterator[None]:
    """Tell what is to be known of the weights as notes, each one once."""
    from robnet_zoo.zoo import PretrainedWarning

    try:
        with warnings.catch_warnings(record=True) as caught:
            yield
    finally:
        notes = [seen for seen in caught if issubclass(seen.category, PretrainedWarning)]
        for text in dict.fromkeys(str(seen.message) for seen in notes):
            note(f"note: {text}")
        for other in caught:
            if other not in notes:
                warnings.showwarning(other.message, other.category, other.filename, other.lineno)
