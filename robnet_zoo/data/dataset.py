"""What a data set is, and the parts it is read in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from robnet_zoo.threat_models import ThreatModel

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
ARRAYS = "arrays:"  # and the path of a user's own file


@dataclass(frozen=True)
class Dataset:
    """What a data set is: sizes, class names where known, and what an attacker may do.

    Attributes:
        name: as given to `load_split`.
        num_classes: number of classes.
        in_channels: 1 for grey, 3 for colour.
        image_size: height and width in pixels.
        class_names: one name a class, or empty where files name the classes.
        threat_model: the row of the threat-model table that goes with it.
        note: where it comes from, for people.
        flip: whether a mirrored image is still of its class; training flips no others.
        subject: what all its images show, where they are no photographs of all kinds of things.
        crop: the part of a picture's shorter side that the evaluation of its images keeps.
        hub: its repository among the Hugging Face Hub's data sets, "org/name", where it has one.
    """

    name: str
    num_classes: int
    in_channels: int
    image_size: int
    class_names: tuple[str, ...]
    threat_model: ThreatModel
    note: str
    flip: bool = True
    subject: str = ""
    crop: float = 1.0
    hub: str = ""
