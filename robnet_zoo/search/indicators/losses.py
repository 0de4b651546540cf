"""Losses, gradients and curvature of a network, on clean and on attacked images."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robnet_zoo.search.indicators.probe import Probe
from robnet_zoo.search.indicators.registry import indicator

BUMP = 1.5  # length of the step that curvature is measured over, as in CURE and AdvRush
NTK_IMAGES = 16  # whose tangent kernel is taken


@indicator("natural_loss", stage="network", meaning="cross-entropy of clean images")
@torch.no_grad()
def natural_loss(probe: Probe) -> float:
    """Return the mean cross-entropy of the images."""
    return float(probe.loss(probe.images))


@indicator("adversarial_loss", stage="network", meaning="cross-entropy under PGD-7")
@torch.no_grad()
def adversarial_loss(probe: Probe) -> float:
    """Return the mean cross-entropy of the attacked images."""
    return float(probe.loss(probe.adversarial))


@indicator("loss_gap", stage="network", meaning="by how much PGD-7 raises the cross-entropy")
def loss_gap(probe: Probe) -> float:
    """Return adversarial minus natural loss."""
    return adversarial_loss(probe) - natural_loss(probe)


@indicator("gradient_norm", stage="network", meaning="length of the natural gradient")
def gradient_norm(probe: Probe) -> float:
    """Return the L2 norm of the natural loss's gradient by all weights."""
    return _length(probe.gradients)


@indicator(
    "adversarial_gradient_norm",
    stage="network",
    meaning="length of the adversarial gradient",
)
def adversarial_gradient_norm(probe: Probe) -> float:
    """Return the L2 norm of the adversarial loss's gradient by all weights."""
    return _length(probe.adversarial_gradients)


@indicator(
    "snip", stage="network", meaning="SNIP: sum of |weight x gradient|", source="Lee et al. 2019"
)
def snip(probe: Probe) -> float:
    """Return the sum of the weights' connection sensitivities."""
    return _saliency(probe.weights, probe.gradients)


@indicator(
    "synflow",
    stage="network",
    meaning="SynFlow, its logarithm: how much flows through all paths",
    source="Tanaka et al. 2020",
)
def synflow(probe: Probe) -> float:
    """Return the logarithm of the sum of synaptic saliencies.

    All weights positive, batch norms as they begin, an image of ones: no data is needed.
    """
    network = copy.deepcopy(probe.network).double()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    with torch.no_grad():
        for weight in weights:
            weight.abs_()
    flow = network(torch.ones_like(probe.images[:1], dtype=torch.float64)).sum()
    return math.log(_saliency(weights, torch.autograd.grad(flow, weights)))


@indicator(
    "ntk_condition",
    stage="network",
    meaning="condition number of the tangent kernel of 16 images, its logarithm",
    source="Chen, Gong and Wang 2021",
)
def ntk_condition(probe: Probe) -> float:
    """Return the logarithm of the ratio of the tangent kernel's extreme eigenvalues."""
    rows = []
    for image in probe.images[:NTK_IMAGES].split(1):
        slopes = torch.autograd.grad(probe.network(image).sum(), probe.weights)
        rows.append(torch.cat([slope.flatten() for slope in slopes]))
    table = torch.stack(rows).double()
    values = torch.linalg.eigvalsh(table @ table.T)
    return float((values[-1] / values[0].clamp(min=1e-12 * values[-1])).log())


@indicator(
    "curvature",
    stage="network",
    meaning="curvature of the loss around images",
    source="AdvRush, Eq. 8; CURE",
)
def curvature(probe: Probe) -> float:
    """Return the mean change of the input gradient over a step along its sign."""
    at = probe.input_gradients(probe.images)
    step = at.sign() / at.sign().flatten(1).norm(dim=1).clamp(min=1e-12)[:, None, None, None]
    moved = probe.input_gradients(probe.images + BUMP * step)
    return float((moved - at).flatten(1).norm(dim=1).mean())


@indicator("input_gradient", stage="network", meaning="L1 norm of the loss's gradient by pixels")
def input_gradient(probe: Probe) -> float:
    """Return the mean L1 norm of the loss's gradient by the pixels."""
    return float(probe.input_gradients(probe.images).flatten(1).abs().sum(1).mean())


def _length(gradients: list[Tensor]) -> float:
    return float(torch.stack([gradient.norm() for gradient in gradients]).norm())


def _saliency(weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> float:
    pairs = zip(weights, gradients, strict=True)
    return sum(float((weight.detach() * slope).abs().sum()) for weight, slope in pairs)


@indicator(
    "receptive_field",
    stage="network",
    meaning="width of the region that the middle of the last maps looks at, in pixels",
    source="Luo et al. 2016",
)
def receptive_field(probe: Probe) -> float:
    """Return the standard deviation, in pixels, of where the last maps' middle gets its values."""
    maps: list[Tensor] = []
    hook = probe.network.cells[-1].register_forward_hook(lambda *args: maps.append(args[-1]))
    leaf = probe.images.detach().requires_grad_()
    try:
        probe.network(leaf)
    finally:
        hook.remove()
    rows, columns = (side // 2 for side in maps[0].shape[2:])
    (slope,) = torch.autograd.grad(maps[0][:, :, rows, columns].sum(), leaf)
    heat = slope.abs().sum((0, 1)).double()
    heat = heat / heat.sum()
    variance = 0.0
    for axis in (0, 1):
        along = heat.sum(1 - axis)
        places = torch.arange(len(along), dtype=along.dtype, device=along.device)
        variance += float((along * (places - (along * places).sum()).square()).sum())
    return math.sqrt(variance)
