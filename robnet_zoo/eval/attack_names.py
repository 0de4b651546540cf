"""Attacks by name, where a transfer attack may start from a model that is not the zoo's."""

from __future__ import annotations

from typing import Any

from robnet_zoo.attacks.base import Attack, Suite
from robnet_zoo.attacks.methods.transfer import transferable
from robnet_zoo.attacks.methods.transfer_source import PREFIX, Source, split
from robnet_zoo.attacks.registry import get_attack
from robnet_zoo.eval.external import is_external
from robnet_zoo.eval.target import load_model_spec


def named_attack(
    name: str, *, mean: str | None = None, std: str | None = None, **settings: Any
) -> Attack | Suite:
    """Return an attack by name; SOURCE in transfer:SOURCE:ATTACK is any name of a model.

    Args:
        name: as `get_attack` takes it.
        mean: of each channel, as `parse_normalisation` takes it, put inside a source that is not
            the zoo's.
        std: likewise.
        settings: fields of the attack to change.

    Raises:
        ZooError: an unknown name, a source that cannot be loaded, or a setting that the attack
            does not have.
    """
    if name.startswith(PREFIX) and "source" not in settings:
        source, base = split(name)
        if is_external(source):
            transferable(get_attack(base, **settings))  # before anything is loaded
            loaded = load_model_spec(source, mean=mean, std=std)
            known = loaded.metadata
            settings["source"] = Source(known.model, loaded.model, arguments=known.arguments)
    return get_attack(name, **settings)
