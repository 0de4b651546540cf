"""What every network can do with the Hugging Face Hub, under the names that Hub users know.

The networks of `models` know nothing of this: `as_hub_model` gives one the methods, by a class
that is a `HubModel` and the network's own class.
"""

from __future__ import annotations

import copyreg
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, Self, cast

import torch
from torch import nn

from robnet_zoo.models import networks
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.zoo.card import write_card
from robnet_zoo.zoo.hub import fetch
from robnet_zoo.zoo.inputs import Transform, transform_of
from robnet_zoo.zoo.load import load
from robnet_zoo.zoo.notices import notice
from robnet_zoo.zoo.results import RESULTS
from robnet_zoo.zoo.store import save_weights
from robnet_zoo.zoo.surgery import adapt, changed_arguments, changes_of
from robnet_zoo.zoo.upload import upload
from robnet_zoo.zoo.weights import Weights, read_weights, update_config

NEEDED = ("architecture", "arguments", "dataset", "image_size", "threat_model")
EARNED = ("training", "results")  # true of the very parameters only


class HubModel(nn.Module):
    """A network with `from_pretrained`, `save_pretrained` and `push_to_hub`.

    They are called like those of huggingface_hub's PyTorchModelHubMixin. Unlike the mixin, loading
    is strict, compares the sha256, reads safetensors alone, and the architecture comes from
    config.json.

    Attributes:
        config: the entries of config.json known of this network: those of its architecture, and
            of the weights it was loaded from.
    """

    config: Mapping[str, Any] = MappingProxyType({})

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        **overrides: Any,
    ) -> Self:
        """Load a weights folder or a repository of the Hub ("org/name"), in eval mode.

        The options are those of `hf_hub_download`, the overrides those of `create_model`.

        Raises:
            ZooError: it cannot be had, is damaged, or holds another kind of network.
        """
        folder = Path(pretrained_model_name_or_path)
        if not folder.is_dir():
            folder = fetch(
                str(pretrained_model_name_or_path),
                revision,
                token=token,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
                force_download=force_download,
            )
        model = load_hub_model(read_weights(folder), **overrides)
        if not isinstance(model, cls):
            raise ZooError(
                f"'{pretrained_model_name_or_path}' holds a {type(model).__name__}, not a "
                f"{cls.__name__}; load it with {type(model).__name__}.from_pretrained."
            )
        return model

    def transform(self) -> Transform:
        """Return what makes a picture, or an array, this network's input (C, H, W).

        Raises:
            ZooError: the network was not loaded from weights, which say the size of its images.
        """
        arguments = changed_arguments(self, self.config.get("arguments", {}))
        return transform_of(self.config, arguments)

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        config: Mapping[str, Any] | None = None,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        dtype: torch.dtype | None = None,
        **push_to_hub_kwargs: Any,
    ) -> str | None:
        """Write a weights folder: tensors, config.json, model card and results.

        What was known of loaded parameters (training, results) is kept only while they are
        unchanged; of others it says what they started from. Classes and channels that
        `reset_classifier` or `reset_in_channels` changed go into config.json. Nothing is written
        that would not load.

        Args:
            save_directory: the folder.
            config: entries of config.json beside or instead of those of `self.config`: dataset,
                image_size and threat_model are needed; name, training, results and licence.
            repo_id: its repository of the Hub, for the card and `push_to_hub` (default: the
                folder's name).
            push_to_hub: push as well.
            dtype: torch.float16 halves the file and rounds; None keeps every bit (`save_weights`).
            push_to_hub_kwargs: further arguments of that method.

        Returns:
            The address of the commit, if pushed.

        Raises:
            ZooError: entries are missing or wrong, the network is no longer the one that they
                describe, or a tensor is not finite.
        """
        folder, entries = Path(save_directory), dict(config or {})
        known = {"licence": "MIT", **self.config, "name": folder.resolve().name, **entries}
        missing = [entry for entry in NEEDED if entry not in known]
        if missing:
            raise ZooError(
                f"Saving needs {', '.join(missing)} in config=...; build the network with "
                "create_model, and say what it was trained on and against."
            )
        earned = {key: known.pop(key) for key in EARNED if key in known}
        if "arguments" not in entries:
            known["arguments"] = changed_arguments(self, known["arguments"])
        if "class_names" not in entries and not self._still_named(known):
            known.pop("class_names", None)
        weights = save_weights(self, folder, known, dtype=dtype)
        origin = self.config.get("sha256")
        if weights.sha256 != origin:
            started = {"weights": self.config.get("name"), "sha256": origin}
            earned = {"training": {"init": started}} if origin else {}
            earned |= {key: entries[key] for key in EARNED if key in entries}
        write_card(update_config(folder, **earned), (repo_id or "").rpartition("/")[0])
        if not push_to_hub:
            return None
        repository = repo_id or folder.name
        return self.push_to_hub(repository, config=config, dtype=dtype, **push_to_hub_kwargs)

    def _still_named(self, known: Mapping[str, Any]) -> bool:
        """Return whether the names of the loaded classes are those of what is to be saved."""
        names = self.config.get("class_names", ())
        classes = known["arguments"].get("num_classes", len(names))
        return len(names) == classes and known["dataset"] == self.config.get("dataset")

    def push_to_hub(
        self,
        repo_id: str,
        *,
        config: Mapping[str, Any] | None = None,
        dtype: torch.dtype | None = None,
        commit_message: str = "Upload weights",
        private: bool | None = None,
        token: str | None = None,
        branch: str | None = None,
        create_pr: bool | None = None,
    ) -> str:
        """Save as `save_pretrained` does and push to the Hub; return the commit's address.

        Raises:
            ZooError: entries are missing, or the Hub refuses or cannot be reached.
        """
        with TemporaryDirectory() as place:
            folder = Path(place) / repo_id.rpartition("/")[2]
            self.save_pretrained(folder, config=config, repo_id=repo_id, dtype=dtype)
            commit = upload(
                folder,
                repo_id,
                commit_message,
                remove=[RESULTS],
                private=private,
                token=token,
                branch=branch,
                create_pr=create_pr,
            )
        return commit.commit_url


_CLASSES: dict[type[nn.Module], type[HubModel]] = {}


def hub_class(base: type[nn.Module]) -> type[HubModel]:
    """Return a subclass of a network's class, of the same name, that is a `HubModel` too."""
    if base in _CLASSES:
        return _CLASSES[base]
    names = {key: getattr(base, key) for key in ("__module__", "__qualname__", "__doc__")}
    made = cast(type[HubModel], type(base.__name__, (HubModel, base), names))

    def reduce(model: HubModel) -> tuple[Any, ...]:
        return _blank, (base,), model.__getstate__()

    copyreg.pickle(made, reduce)  # which would look the class up by its name and find the base
    _CLASSES[base] = made
    return made


def _blank(base: type[nn.Module]) -> HubModel:
    made = hub_class(base)
    return made.__new__(made)


def as_hub_model(network: nn.Module, config: Mapping[str, Any]) -> HubModel:
    """Return the network itself with the methods of `HubModel`, and what is known of it."""
    if not isinstance(network, HubModel):
        network.__class__ = hub_class(type(network))
    model = cast(HubModel, network)
    model.config = config
    return model


def load_hub_model(weights: Weights, *, verify: bool = False, **overrides: Any) -> HubModel:
    """Build the model of a weights folder as `load` does, with the methods of `HubModel`.

    Other classes, channels or sides of images than the weights' change the network (`surgery.py`),
    and a `PretrainedWarning` says how.
    """
    changes = changes_of(weights, overrides)
    kept = {key: value for key, value in overrides.items() if key not in changes}
    model, config = load(weights, verify=verify, **kept), weights.config()
    if changes:
        notice(adapt(model, weights, changes), stacklevel=2)
        config["image_size"] = changes.get("image_size", weights.image_size)
        config["arguments"] = changed_arguments(model, weights.arguments)
        del config["check"]
        if "num_classes" in changes:
            config.pop("class_names", None)
    return as_hub_model(model, config)


Network = hub_class(networks.Network)  # of searched networks: `Network.from_pretrained`
