"""How large a network is and how much it computes."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def count_parameters(model: nn.Module, *, auxiliary: bool = False) -> int:
    """Return the number of parameters; an auxiliary head counts only if asked for."""
    return sum(
        parameter.numel()
        for name, parameter in model.named_parameters()
        if auxiliary or not name.startswith("auxiliary_head.")
    )


def count_macs(model: nn.Module, input_shape: tuple[int, int, int]) -> int:
    """Return the multiply-accumulates that one image's logits take.

    Convolutions and linear layers count, as in the papers' tables; sums and pools do not.
    Nothing is computed: the pass runs on shapes only and leaves the model as it was.

    Args:
        model: any network of convolutions and linear layers.
        input_shape: an image's (C, H, W).
    """
    total = 0

    def count(layer: nn.Conv2d | nn.Linear, inputs: object, output: Tensor) -> None:
        nonlocal total
        positions = output[0, 0].numel()  # 1 for a linear layer's (N, classes)
        total += layer.weight.numel() * positions

    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    shapes = {
        name: tensor.detach().to("meta")
        for tensors in (model.named_parameters(), model.named_buffers())
        for name, tensor in tensors
    }
    # Two images, since batch norm in training mode refuses a single 1x1 map.
    images = torch.empty(2, *input_shape, device="meta")
    try:
        with torch.no_grad():
            torch.func.functional_call(model, shapes, (images,))
    finally:
        for hook in hooks:
            hook.remove()
    return total
