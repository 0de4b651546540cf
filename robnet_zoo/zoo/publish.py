"""Weights folders published on the Hugging Face Hub, and pinned in the registry."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from robnet_zoo.runtime.decode import to_builtins
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.files import write_json
from robnet_zoo.zoo.card import write_card
from robnet_zoo.zoo.hub import PINS, Pin, pins
from robnet_zoo.zoo.load import load
from robnet_zoo.zoo.results import RESULTS
from robnet_zoo.zoo.upload import Publication, synchronise
from robnet_zoo.zoo.weights import CONFIG, TENSORS, in_checkout, read_weights


def publish(folder: Path, organisation: str, *, send: bool) -> Publication:
    """Compare a weights folder with its repository, and make the two equal unless it is a dry run.

    The card, the results and the drawing are made anew from config.json. What is sent is pinned in
    the checkout's registry, by commit and sha256.

    Raises:
        ZooError: weights that do not load or compute their stored logits, no checkout to pin
            in, or a Hub that cannot be reached or refuses.
    """
    if send and not in_checkout():
        raise ZooError("Publishing pins the weights in a checkout's registry; run it from one.")
    weights = read_weights(folder)
    load(weights, verify=True)
    repository = f"{organisation}/{weights.name}"
    with TemporaryDirectory() as place:
        staged = Path(place)
        for name in (CONFIG, TENSORS):
            shutil.copy(folder / name, staged / name)
        write_card(read_weights(staged), organisation)
        message = f"Publish {weights.name}"
        done = synchronise(staged, repository, message, send=send, remove=[RESULTS])
    if send:
        _pin(weights.name, Pin(repository, str(done.revision), weights.sha256))
    return done


def _pin(name: str, pin: Pin) -> None:
    entries = pins() | {name: pin}
    write_json(PINS, to_builtins(dict(sorted(entries.items()))))
