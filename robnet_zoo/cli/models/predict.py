"""`robnet-zoo predict`: what an image shows, as a network of the zoo sees it."""

from __future__ import annotations

import argparse
from pathlib import Path

MOST = 3  # classes that are printed
DEFAULT_MODEL = "racl"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Print the three most likely classes of an image. Its centre is scaled to the size of the\n"
        "network's own images."
    )
    add_image_options(parser)


def add_image_options(parser: argparse.ArgumentParser) -> None:
    """Add what every command on one image takes."""
    add = parser.add_argument
    add("image", type=Path, metavar="IMAGE", help="a picture, such as cat.png")
    add(
        "--model",
        default=DEFAULT_MODEL,
        help="such as racl.digits, local-dir:DIR or hf-hub:org/name; a name without a tag takes "
        f"the best weights at hand (default: {DEFAULT_MODEL})",
    )
    add("--device", default="auto", help="cpu, cuda or cuda:N (default: cuda where there is one)")


def run(options: argparse.Namespace) -> None:
    """Print the classes with their probabilities."""
    from robnet_zoo.cli.models.image import (
        describe_input,
        load_classifier,
        read_input,
        subject_note,
    )
    from robnet_zoo.plotting.attacked import percent
    from robnet_zoo.zoo.registry import find_weights

    weights = find_weights(options.model)
    image = read_input(options.image, weights)
    classifier = load_classifier(weights, options.device)
    probabilities = classifier.probabilities(image)
    print(f"{options.image} as {weights.name} sees it, in {describe_input(weights)}:")
    best = (-probabilities).argsort(kind="stable")[:MOST]
    width = max(len(classifier.names[index]) for index in best)
    for index in best:
        print(f"  {classifier.names[index]:<{width}}  {percent(probabilities[index]):>6}")
    if note := subject_note(weights):
        print(note)
