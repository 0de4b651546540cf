"""Whether the gradient that attacks follow exists, is true, and leads anywhere."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robnet_zoo.attacks.pgd import TINY, Adversary, margin, noise_for
from robnet_zoo.eval.checks.finding import finding
from robnet_zoo.eval.record import Check
from robnet_zoo.threat_models import ThreatModel

LOST = 0.05  # share of images that may have no gradient
NUDGE = 2e-4  # of the pixel range: well within one grey level of 255
PIXELS = 32  # nudged in each image, at most an eighth of them
RESOLVED = 2e-5  # of the largest logit: float32 shows smaller changes with errors above 10 %
UNTRUE = 0.25  # share of images whose loss may do something else than the gradient says
DRAWS = 2  # of noise
IN_NOISE = 0.25  # share of images where noise may change as much as the gradient gains


def check_gradient_path(connected: bool) -> Check:
    """The logits are connected to the image, so that gradients can be had at all."""
    seen = "Gradients flow" if connected else "No gradient flows"
    return finding(
        "gradient-path",
        connected,
        f"{seen} from the logits to the image",
        "no white-box attack can work; take no_grad, detach and NumPy out of the forward pass",
    )


def check_input_gradients(by_entropy: Tensor, by_margin: Tensor) -> Check:
    """Gradients of both losses (N, C, H, W) are finite, and vanish on hardly any image."""
    name, n = "input-gradients", len(by_entropy)
    sizes = [gradient.flatten(1).abs().amax(1) for gradient in (by_entropy, by_margin)]
    broken = int((~(sizes[0].isfinite() & sizes[1].isfinite())).sum())
    if broken:
        seen = f"Gradients are not finite on {broken} of {n} images"
        return finding(name, False, seen, "look for a root, norm or division that meets 0")
    entropy, other = (int((size < TINY).sum()) for size in sizes)
    remedy = (
        "a step in the model is flat (rounding, a threshold); attack with a smooth step in its "
        "place, or trust square alone"
        if other > LOST * n
        else "the softmax saturates in float32; trust attacks on the margin (apgd-t, fab-t) alone"
    )
    return finding(
        name,
        max(entropy, other) <= LOST * n,
        f"Gradients of the cross-entropy vanish on {entropy} of {n} images, of the margin on "
        f"{other}",
        remedy,
    )


@torch.no_grad()
def check_true_gradient(
    model: nn.Module, images: Tensor, labels: Tensor, logits: Tensor, gradient: Tensor
) -> Check | None:
    """The margin rises as its gradient (N, C, H, W) says when a few pixels change a little.

    Few pixels, because rounding averages out over many. Images whose change float32 could not
    resolve are not judged; None if no image is left.
    """
    up = gradient.sign()
    free = ((up > 0) & (images <= 1 - NUDGE)) | ((up < 0) & (images >= NUDGE))
    strength = (gradient.abs() * free).flatten(1)
    strongest = strength.topk(min(PIXELS, max(1, strength.shape[1] // 8)))
    chosen = torch.zeros_like(strength).scatter_(1, strongest.indices, NUDGE).view_as(images)
    moved = model(images + chosen * up * free)
    predicted = NUDGE * strongest.values.sum(1)
    clear = predicted > RESOLVED * logits.abs().amax(1)
    if not clear.any():
        return None
    ratio = ((margin(moved, labels) - margin(logits, labels)) / predicted)[clear]
    untrue = int(((ratio < 0.5) | (ratio > 2)).sum())
    return finding(
        "true-gradient",
        untrue <= UNTRUE * len(ratio),
        f"Where the gradient promises 1 the loss rises by {float(ratio.median()):.2f} (median), "
        f"and by less than half or more than twice as much on {untrue} of {len(ratio)} images",
        "the gradient is not that of the model (rounded pixels, straight-through, a custom "
        "backward); add square to the attacks",
    )


@torch.no_grad()
def check_beats_noise(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    logits: Tensor,
    threat_model: ThreatModel,
    *,
    seed: int,
) -> Check:
    """A step of epsilon / 4 along the gradient gains more than noise of that size changes."""
    size = threat_model.epsilon.value / 4
    probe = Adversary(epsilon=size, step_size=size, steps=1, norm=threat_model.norm, loss="margin")
    start = margin(logits, labels)
    gain = margin(model(probe.ascend(model, images, images, labels).adversarial), labels) - start
    squares = torch.zeros_like(start)
    for draw in range(DRAWS):
        noisy = probe.begin(images, check_noise(images, threat_model, seed=seed, draw=draw))
        squares += (margin(model(noisy), labels) - start).square() / DRAWS
    lost = int((squares.sqrt() >= gain).sum())
    return finding(
        "beats-noise",
        lost <= IN_NOISE * len(images),
        f"A step of epsilon/4 along the gradient gains no more than noise on {lost} of "
        f"{len(images)} images",
        "the loss is too rough for gradients to lead anywhere (shattered gradients); add square "
        "to the attacks",
    )


def check_noise(images: Tensor, threat_model: ThreatModel, *, seed: int, draw: int = 0) -> Tensor:
    """Return unit noise for the images (N, C, H, W), the same whenever the seed is."""
    noise = noise_for(
        range(len(images)),
        images.shape[1:],
        seed=seed,
        attack="check",
        restart=draw,
        norm=threat_model.norm,
    )
    return noise.to(images.device)
