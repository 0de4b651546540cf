"""The folded form: a network as it is in eval mode, with everything merged that is linear.

Batch norm in eval mode is a constant scale and shift, which goes into the convolution before it.
All edges that leave a state read one ReLU of it, and a cell hands its output on rectified, since
every reader begins with a ReLU. What is left of a separable convolution takes one of three forms:

- "separable": the depthwise and the pointwise convolution, one after the other: little
  arithmetic, which is what counts in full precision;
- "dense": both merged into one dense convolution; those that leave a state are joined over their
  outputs, those that enter a node over their inputs, so that the node's sum is part of the
  product. Some nine kernels a cell in place of sixty, with up to nine times the arithmetic: for
  tensor cores, and for small maps of few channels;
- "fused": both in one kernel of our own (`fused.py`), for GPUs in half precision; what it does not
  take, strided convolutions and those of many channels, is computed densely.

Tensor cores want channels in multiples of eight, else inputs are copied into wider ones at every
convolution. Where all of a network is dense or fused and held in bfloat16, its states and hidden
layers have channels of zeros added up to that; they stay zero on their way.

All are exact: logits and input gradients differ from the plain form's by rounding alone.
"""

from __future__ import annotations

from types import FunctionType
from typing import get_args

import torch
from torch import fx, nn

from robnet_zoo.models.baselines import Layers
from robnet_zoo.models.fast.chains import Chain
from robnet_zoo.models.fast.folded_layers import FoldedConv, FoldedLinear, FoldedNorm
from robnet_zoo.models.fast.folded_network import FoldedNetwork
from robnet_zoo.models.fast.forms import Form
from robnet_zoo.models.fast.refresh import fill
from robnet_zoo.models.networks import Network
from robnet_zoo.runtime.errors import unknown_name


def fold(
    model: nn.Module,
    form: Form | None = None,
    *,
    image_size: int | None = None,
    dtype: torch.dtype | None = None,
) -> nn.Module:
    """Return a model with the same logits and input gradients as this one in eval mode, faster.

    It holds copies of the weights, in channels_last, none of which asks for a gradient; `refresh`
    brings them up to date. Networks of the zoo are folded; any other model, and one with hooks,
    is returned as it is.

    Args:
        model: a network of the zoo.
        form: how separable convolutions are computed. By default densely on a GPU in half
            precision or TF32 and, on a CPU, those of few channels on small maps; separably
            elsewhere. Networks without cells have one form.
        image_size: height and width of the images to come, in pixels; None for large ones.
        dtype: what convolutions hold their weights in; None for the model's own. The bfloat16
            form of a float32 model is only ever run under autocast: there passes have no weights
            to convert, and logits are the same to the bit, but for the order of sums where
            channels of zeros are added.

    Raises:
        ZooError: an unknown form.
    """
    if form is not None and form not in get_args(Form):
        raise unknown_name("form", form, get_args(Form))
    if any(_hooked(module) for module in model.modules()):
        return model
    if isinstance(model, Network) and _computes_as(model, Network):
        return FoldedNetwork(model, form, image_size, dtype).eval()
    if _computes_as(model, Layers):
        return _fold_traced(model, dtype)
    return model


def _computes_as(model: nn.Module, known: type[nn.Module]) -> bool:
    """Return whether a model is of a known class, or of a subclass that changes none of it."""
    methods = {
        name
        for base in known.__mro__
        for name, value in vars(base).items()
        if isinstance(value, FunctionType)
    }
    return isinstance(model, known) and all(
        getattr(type(model), name) is getattr(known, name) for name in methods
    )


def _hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)


def _fold_traced(model: nn.Module, dtype: torch.dtype | None) -> nn.Module:
    """Return a human-designed network with each batch norm inside the convolution before it."""
    traced = fx.symbolic_trace(model)
    layers = dict(model.named_modules())
    merged = set()
    for node in list(traced.graph.nodes):
        name = str(node.target)
        layer = layers.get(name) if node.op == "call_module" else None
        if isinstance(layer, nn.Linear):
            traced.set_submodule(name, FoldedLinear(Chain((layer,))))
        elif isinstance(layer, nn.BatchNorm2d) and node not in merged:
            traced.set_submodule(name, FoldedNorm(layer))
        elif isinstance(layer, nn.Conv2d):
            chain: tuple[nn.Module, ...] = (layer,)
            following = next(iter(node.users))
            norm = layers.get(str(following.target)) if following.op == "call_module" else None
            if len(node.users) == 1 and isinstance(norm, nn.BatchNorm2d):
                chain = (layer, norm)
                merged.add(following)
                following.replace_all_uses_with(node)
                traced.graph.erase_node(following)
            traced.set_submodule(name, FoldedConv(Chain(chain)))
    traced.delete_all_unused_submodules()
    traced.recompile()
    fill(traced, dtype)
    return traced.eval()
