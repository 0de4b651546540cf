"""What the classes of weights are called."""

from __future__ import annotations

from msgspec import UNSET

from robnet_zoo.data import dataset_info, list_datasets
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.zoo.weights import Weights


def class_names(weights: Weights) -> tuple[str, ...]:
    """Return a name for each class: the weights' own, or the data set's, or its number.

    Raises:
        ZooError: config.json has more or fewer names than the network has classes.
    """
    count = weights.arguments.get("num_classes", 10)
    if weights.class_names is not UNSET:
        if len(weights.class_names) != count:
            raise ZooError(
                f"{weights.name} has {count} classes and class_names of "
                f"{len(weights.class_names)}; give each class one name, or leave class_names out."
            )
        return weights.class_names
    known = weights.dataset in list_datasets()
    names = dataset_info(weights.dataset).class_names if known else ()
    return names if len(names) == count else tuple(f"class {number}" for number in range(count))
