"""Names made into models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, overload

from robnet_zoo.models.features import Backbone, FeatureMaps
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.zoo.architectures import ARCHITECTURES
from robnet_zoo.zoo.blueprints import blueprint
from robnet_zoo.zoo.mixin import HubModel, as_hub_model, load_hub_model
from robnet_zoo.zoo.notices import describe_default, notice
from robnet_zoo.zoo.registry import get_weights


@overload
def create_model(
    name: str,
    *,
    pretrained: bool = False,
    weights: str | None = None,
    verify: bool = False,
    features_only: Literal[False] = False,
    **overrides: Any,
) -> HubModel: ...
@overload
def create_model(
    name: str,
    *,
    pretrained: bool = False,
    weights: str | None = None,
    verify: bool = False,
    features_only: Literal[True],
    out_indices: Sequence[int] | None = None,
    **overrides: Any,
) -> FeatureMaps: ...
def create_model(
    name: str,
    *,
    pretrained: bool = False,
    weights: str | None = None,
    verify: bool = False,
    features_only: bool = False,
    out_indices: Sequence[int] | None = None,
    **overrides: Any,
) -> HubModel | FeatureMaps:
    """Build a model: images (N, C, H, W) with pixels in [0,1] to logits (N, classes).

    Args:
        name: an architecture ("racl"), one with weights ("racl.digits"), a genotype file
            ("cells:genotype.json"), a weights folder ("local-dir:DIR") or a repository of the
            Hugging Face Hub ("hf-hub:org/name").
        pretrained: load the architecture's default weights: of those on this machine the ones at or
            nearest the published size and data. If they are not quite that, a `PretrainedWarning`
            says what they are; weights that are named never warn.
        weights: load the weights of this tag ("digits") or folder ("./runs/racl").
        verify: compare the loaded model's logits on a fixed input with the stored ones.
        features_only: return the network without its classifier, which then gives a list of maps:
            the last one at each resolution, as its `feature_info` describes them.
        out_indices: which of these maps; all if None.
        overrides: channels, layers, num_classes, in_channels, stem, denoise, and auxiliary with
            image_size. Weights fix all of them but num_classes, in_channels and image_size: to
            these a network without an auxiliary head is adapted, and a `PretrainedWarning` says
            how.

    Returns:
        The model: in eval mode with weights, in training mode with random ones.

    Raises:
        ZooError: unknown names or overrides, weights that are missing or damaged, or overrides
            that the weights do not fit.
    """
    scheme, colon, _ = name.partition(":")
    stored = pretrained or weights is not None or (scheme != "cells" if colon else "." in name)
    if not stored:
        if verify:
            raise ZooError(f"There is nothing to verify: '{name}' is built with random weights.")
        design = blueprint(name, **overrides)
        model = as_hub_model(design.build(), design.config())
    else:
        chosen = get_weights(name, weights)
        if name in ARCHITECTURES and weights is None and (text := describe_default(name, chosen)):
            notice(text, stacklevel=1)
        model = load_hub_model(chosen, verify=verify, **overrides)
    if not features_only:
        return model
    if not isinstance(model, Backbone):
        raise ZooError(f"'{name}' has no maps to give; leave features_only out.")
    return FeatureMaps(model, out_indices).train(model.training)
