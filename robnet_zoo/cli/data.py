"""`robnet-zoo data`: images of one's own as the .npz file that training takes."""

from __future__ import annotations

import argparse
from pathlib import Path

SOURCES = "CIFAR-10's batches, folders of images, one a class, an archive of these, or FILE.npz"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add = parser.add_argument
    add("out", type=Path, metavar="OUT.npz", help="the file to write")
    add("sources", type=Path, nargs="+", metavar="SOURCE", help=SOURCES)
    add("--split", choices=("train", "test"), default="train", help="default train")
    add("--name", help="the data set's name for the records, such as cifar10")
    add("--note", metavar="TEXT", help="what is to be known about the images")


def run(options: argparse.Namespace) -> None:
    """Write the file and print what it holds."""
    from robnet_zoo.data.convert import convert_images

    dataset, images = convert_images(
        options.out,
        options.sources,
        split=options.split,
        name=options.name,
        note=options.note,
    )
    shape = f"{dataset.image_size}x{dataset.image_size}x{dataset.in_channels}"
    names = f" ({', '.join(dataset.class_names)})" if dataset.class_names else ""
    print(f"written: {options.out}, {len(images):,} images of {shape}")
    print(f"{dataset.num_classes} classes{names}")
    print(f"sha256 of the images and classes: {images.fingerprint}")
    print(f"train on it with --dataset arrays:{options.out}")
