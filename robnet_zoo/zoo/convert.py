"""Official RobNet checkpoints (.pth.tar) made into weights folders.

The zoo's RobNet modules carry the names of the authors' code, so nothing is renamed.
"""

from __future__ import annotations

from pathlib import Path

from robnet_zoo.data import dataset_info
from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.runtime.files import check_writable, sha256_of
from robnet_zoo.zoo.architectures import ARCHITECTURES
from robnet_zoo.zoo.blueprints import blueprint
from robnet_zoo.zoo.papers import ROBNET
from robnet_zoo.zoo.state_dicts import read_state_dict
from robnet_zoo.zoo.store import save_weights, stored_state
from robnet_zoo.zoo.tensors import validate_tensors
from robnet_zoo.zoo.weights import CONFIG, Weights


def convert(checkpoint: Path, model: str, out: Path, dataset: str | None = None) -> Weights:
    """Turn an official RobNet checkpoint into a weights folder for `local-dir:`.

    Args:
        checkpoint: a .pth.tar file: a state dict, bare or under "state_dict", with or without
            the "module." prefix. The number of classes is taken from its classifier.
        model: the RobNet architecture that it is for.
        out: the folder to write.
        dataset: what it was trained on; "cifar10" (ImageNet for the ImageNet network) if None.

    Raises:
        ZooError: no RobNet, an unreadable file or one with pickled objects, missing, surplus or
            wrongly shaped tensors, or an unwritable folder.
    """
    robnets = [name for name, known in ARCHITECTURES.items() if known.paper is ROBNET]
    if model not in robnets:
        raise unknown_name("RobNet model", model, robnets)
    trained_on = dataset_info(dataset or ("imagenet" if model.endswith("imagenet") else "cifar10"))
    check_writable(Path(out) / CONFIG)
    tensors = {
        name: tensor
        for name, tensor in read_state_dict(Path(checkpoint)).items()
        if not name.endswith("num_batches_tracked")
    }
    if "classifier.weight" not in tensors or tensors["classifier.weight"].ndim != 2:
        raise ZooError(f"'{checkpoint}' has no classifier.weight; it is no RobNet checkpoint.")
    design = blueprint(model, num_classes=len(tensors["classifier.weight"]))
    network = design.build()
    validate_tensors(f"'{checkpoint}'", model, tensors, stored_state(network))
    network.load_state_dict(tensors, strict=False)  # names were compared: only counters are left
    names = trained_on.class_names
    named = len(names) == design.arguments["num_classes"]
    threat = trained_on.threat_model
    config = {
        "name": Path(out).resolve().name,
        **design.config(),
        "dataset": trained_on.name,
        "image_size": trained_on.image_size,
        **({"class_names": names} if named else {}),
        "threat_model": {
            "name": threat.name,
            "norm": threat.norm,
            "epsilon": threat.epsilon.text,
        },
        "training": {
            "recipe": "converted from the authors' checkpoint",
            "source": Path(checkpoint).name,
            "source_sha256": sha256_of(Path(checkpoint)),
        },
        "licence": "as the authors' checkpoint (their code: MIT)",
    }
    return save_weights(network, Path(out), config)
