"""`robnet-zoo download`: weights from the Hugging Face Hub, checked."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from robnet_zoo.runtime.errors import ZooError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("name", help="such as racl.cifar10 or hf-hub:org/name@revision")
    parser.add_argument("--out", type=Path, help="also copy them into this new folder")


def run(options: argparse.Namespace) -> None:
    """Fetch weights, load them, and compare their logits with the stored ones."""
    from robnet_zoo.zoo import get_weights
    from robnet_zoo.zoo.load import load

    if options.out and options.out.exists():
        raise ZooError(f"'{options.out}' exists already; name a new folder.")
    weights = get_weights(options.name)
    load(weights, verify=True)
    print(f"{weights.name}, {weights.size_bytes:,} bytes, checked: {weights.folder}")
    if options.out:
        shutil.copytree(weights.folder, options.out)
        print(f"copied: {options.out}")
