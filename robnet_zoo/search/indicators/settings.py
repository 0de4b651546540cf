"""How a trial of indicators is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robnet_zoo.runtime.decode import Count, PositiveAmount, PositiveCount
from robnet_zoo.runtime.settings import check_settings
from robnet_zoo.search.run.asked import keep_asked

SETTINGS = "settings.json"


@dataclass(frozen=True, kw_only=True)
class TrialSettings:
    """All that an indicator's value depends on, beside the cell.

    Attributes:
        dataset: whose training images networks are probed with and trained on.
        channels, layers: size of the networks.
        images: that networks are probed with.
        seeds: networks with random weights that an indicator is averaged over; narrow ones are
            looked at once.
        steps: of the short adversarial training; 0 for none.
        batch_size: of it.
        lr: its highest learning rate.
        repeats: cells that are trained a second time, with another seed, to see what a seed does.
        seed: the first one.
    """

    dataset: str = "digits"
    channels: PositiveCount = 16
    layers: PositiveCount = 8
    images: PositiveCount = 32
    seeds: PositiveCount = 2
    steps: Count = 200
    batch_size: PositiveCount = 32
    lr: PositiveAmount = 0.1
    repeats: Count = 30
    seed: int = 0

    def __post_init__(self) -> None:
        check_settings(self)


def keep_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write settings down in a folder, or hold them against those that it was begun with.

    Raises:
        ZooError: they differ.
    """
    refusal = f"'{folder}' was begun with other settings; choose another --out."
    keep_asked(folder / SETTINGS, settings, refusal)
