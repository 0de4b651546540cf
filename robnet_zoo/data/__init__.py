"""Data sets by name: what they are, and their training, validation and test splits."""

from robnet_zoo.data.dataset import ARRAYS, PARTS, Dataset, Part
from robnet_zoo.data.registry import (
    Reader,
    dataset_info,
    list_datasets,
    load_split,
    register_dataset,
    to_float,
)

__all__ = [
    "ARRAYS",
    "PARTS",
    "Dataset",
    "Part",
    "Reader",
    "dataset_info",
    "list_datasets",
    "load_split",
    "register_dataset",
    "to_float",
]
