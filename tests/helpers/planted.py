"""Mistakes and tricks that stop attacks and not the network: each planted in an honest one."""

import hashlib
from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F


class Planted(nn.Module):
    """A network with something before it, on its pixels, and behind it, on its logits."""

    def __init__(self, net, before=None, behind=None):
        super().__init__()
        self.net, self.before, self.behind = net, before, behind
        self.eval()

    def forward(self, images):
        logits = self.net(self.before(images, self) if self.before else images)
        return self.behind(logits) if self.behind else logits


def through(values, levels):
    """Round to levels, with the gradient of not rounding."""
    return straight(values, (values * levels).round() / levels)


def straight(images, changed):
    """Return the changed images with the gradient of leaving them."""
    return images + (changed - images).detach()


def seen(images, part):
    """Return the images, of which a part alone has a gradient."""
    return part + (images - part).detach()


def where(images, mask):
    """Return the images, of which pixels under a mask (H, W) alone have a gradient."""
    return torch.where(mask, images, images.detach())


class Backward(torch.autograd.Function):
    """Changes nothing but the gradient."""

    @staticmethod
    def forward(ctx, images, change):
        ctx.change = change
        return images.clone()

    @staticmethod
    def backward(ctx, gradient):
        return ctx.change(gradient), None


def hooked(change):
    return lambda x, m: Backward.apply(x, change)


def low(images, side=3):
    return F.avg_pool2d(images, side, 1, side // 2, count_include_pad=False)


def median(images):
    padded = F.pad(images, (1, 1, 1, 1), mode="reflect").unfold(2, 3, 1).unfold(3, 3, 1)
    return padded.flatten(4).median(-1).values


def frequencies(images, kept):
    """Return the images without all but the lowest frequencies of their cosine transform."""
    n = images.shape[-1]
    k, i = torch.arange(n)[:, None], torch.arange(n)
    basis = torch.cos(torch.pi * (2 * i + 1) * k / (2 * n)) * (2 / n) ** 0.5
    basis[0] /= 2**0.5
    return basis.T @ ((basis @ images @ basis.T) * (k + i < kept)) @ basis


ROW, COLUMN = torch.arange(8)[:, None], torch.arange(8)[None, :]
MIDDLE = ((ROW - 3.5).abs() < 2) & ((COLUMN - 3.5).abs() < 2)
SCATTERED = torch.rand(8, 8, generator=torch.Generator().manual_seed(3)) < 0.8


def keyed_noise(images, planted):
    """Add noise that every image decides, to the bit."""
    seeds = [hashlib.sha256(image.numpy().tobytes()).digest()[:4] for image in images.detach()]
    noise = [
        torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(int.from_bytes(seed)))
        for seed in seeds
    ]
    return images + 0.05 * torch.stack(noise)


def unguarded_norm(images, planted):
    blank = images[:, :, :1] - images[:, :, :1]
    return images + blank.square().sum((1, 2, 3), keepdim=True).sqrt()


def thermometer(images, planted):
    levels = torch.arange(8).view(1, 8, 1, 1) / 8
    return (images > levels).float().mean(1, keepdim=True) + 0 * images


def winners(images, planted):
    """Keep the largest tenth of an image's features: k-winners-take-all."""
    phases = torch.arange(8).view(1, 8, 1, 1)
    features = images + 0.5 * torch.sin(phases + 60 * images)
    least = features.flatten(1).quantile(0.9, 1)[:, None, None, None]
    kept = torch.where(features > least, features, 0).sum(1, keepdim=True)
    return images + 0.3 * kept


def shifted(images, planted):
    """Pad at random, as test-time augmentation does."""
    return torch.roll(images, int(torch.randint(0, 3, ())), 3)


def counted(images, planted):
    planted.calls = getattr(planted, "calls", 0) + 1
    return images + 0.1 * (planted.calls % 2)


class FalsePool(torch.autograd.Function):
    """A maximum over 2x2 pixels that spreads its gradient evenly."""

    @staticmethod
    def forward(ctx, images):
        return F.interpolate(F.max_pool2d(images, 2), scale_factor=2)

    @staticmethod
    def backward(ctx, gradient):
        return F.interpolate(F.avg_pool2d(gradient, 2), scale_factor=2)


class Wavy(nn.Module):
    """A sequence of layers with fine waves on the activations behind the third."""

    def __init__(self, net):
        super().__init__()
        self.first, self.rest = net[:3], net[3:]
        self.eval()

    def forward(self, images):
        features = self.first(images)
        return self.rest(features + 0.1 * torch.sin(50 * features))


class Ensemble(nn.Module):
    """The mean of two networks, of which attacks see one."""

    def __init__(self, first, second, how):
        super().__init__()
        self.first, self.second, self.how = first, second, how
        self.eval()

    def forward(self, images):
        if self.how == "no_grad":
            with torch.no_grad():
                other = self.second(images)
        else:
            other = self.second(images)
            other = 0.1 * other + (0.9 * other).detach()
        return (self.first(images) + other) / 2


class Remembering(nn.Module):
    """Gives an image the logits of the first one that looked alike."""

    def __init__(self, net):
        super().__init__()
        self.net, self.known = net, OrderedDict()

    def forward(self, images):
        logits = self.net(images)
        looks = [tuple((4 * low(image[None])).round().flatten().tolist()) for image in images]
        kept = [
            self.known.setdefault(look, own.detach())
            for look, own in zip(looks, logits, strict=True)
        ]
        return logits + (torch.stack(kept) - logits).detach()


def attacked(images, planted):
    """Return other images where a gradient is asked for."""
    return images.flip(3) if images.requires_grad else images


def graded(images, planted):
    return images.flip(3) if torch.is_grad_enabled() else images


def crowded(images, planted):
    return images if len(images) > 32 else images.flip(3)


def mirrored_if(false, images):
    return Backward.apply(images, lambda g: g.flip(3)) if false else images


def large(images, planted):
    """Mirror the gradient in batches larger than those of the checks."""
    return mirrored_if(len(images) > 64, images)


def patient(images, planted):
    """Mirror the gradient once the checks are over."""
    planted.calls = getattr(planted, "calls", 0) + 1
    return mirrored_if(planted.calls > 30, images)


def confidence(logits):
    return logits.softmax(1).amax(1, keepdim=True)


def gap(logits):
    best = logits.topk(2, 1).values
    return best[:, :1] - best[:, 1:]


def one_hot(logits):
    return F.one_hot(logits.argmax(1), 10).float() + 0 * logits


# what is planted: before the network (pixels, the model), and the check that names it
BEFORE = {
    # gradients that lack a part
    "half of the image detached": (lambda x, m: where(x, COLUMN < 4), "whole-gradient"),
    "a quadrant detached": (lambda x, m: where(x, (ROW < 4) | (COLUMN < 4)), "whole-gradient"),
    "a frame detached": (
        lambda x, m: where(x, (ROW > 0) & (ROW < 7) & (COLUMN > 0) & (COLUMN < 7)),
        "whole-gradient",
    ),
    "the middle detached": (
        lambda x, m: where(x, ~MIDDLE),
        "whole-gradient",
    ),
    "a checkerboard detached": (lambda x, m: where(x, (ROW + COLUMN) % 2 == 0), "whole-gradient"),
    "every other row detached": (
        lambda x, m: where(x, ROW % 2 == 0),
        "whole-gradient",
    ),
    "a fifth of the pixels detached": (lambda x, m: where(x, SCATTERED), "whole-gradient"),
    "high frequencies detached": (lambda x, m: seen(x, low(x)), "whole-gradient"),
    "low frequencies detached": (lambda x, m: seen(x, x - low(x)), "whole-gradient"),
    "the lowest frequencies detached": (lambda x, m: seen(x, x - low(x, 5)), "whole-gradient"),
    "a cosine transform's detached": (lambda x, m: seen(x, frequencies(x, 4)), "whole-gradient"),
    # gradients that are false
    "a blurred gradient": (hooked(low), "whole-gradient"),
    "a gradient blurred more": (hooked(lambda g: low(g, 5)), "whole-gradient"),
    "a gradient's sign": (hooked(torch.sign), "whole-gradient"),
    "a clipped gradient": (hooked(lambda g: g.clamp(-1e-3, 1e-3)), "whole-gradient"),
    "a tenth of the gradient": (hooked(lambda g: g / 10), "true-gradient"),
    "a gradient scaled in a half": (
        hooked(lambda g: torch.where(COLUMN < 4, g, g / 10)),
        "whole-gradient",
    ),
    "a gradient with noise": (
        hooked(lambda g: g + g.abs().mean() * torch.randn_like(g)),
        "whole-gradient",
    ),
    "a shuffled gradient": (hooked(lambda g: g.roll(1, 3)), "whole-gradient"),
    "a pool with a false gradient": (lambda x, m: FalsePool.apply(x), "whole-gradient"),
    "a median, straight through": (lambda x, m: straight(x, median(x)), "whole-gradient"),
    "a blur, straight through": (lambda x, m: straight(x, low(x)), "whole-gradient"),
    "a coarse transform, straight through": (
        lambda x, m: straight(x, frequencies(through(x, 32), 5)),
        "true-gradient",
    ),
    "a sharp contrast, straight through": (
        lambda x, m: straight(x, torch.tanh(2 * x)),
        "whole-gradient",
    ),
    # pixels at their bounds
    "clamp": (lambda x, m: x.clamp(0, 1), "bound-gradient"),
    "relu": (lambda x, m: F.relu(x), "bound-gradient"),
    "hardtanh around 0": (lambda x, m: (F.hardtanh(2 * x - 1) + 1) / 2, "bound-gradient"),
    "clamp behind a shift": (lambda x, m: (x * 255).clamp(0, 255) / 255, "bound-gradient"),
    # steps, noise and randomness
    "a thermometer": (thermometer, "input-gradients"),
    "a filter that is off": (lambda x, m: 0 * x + median(x).detach(), "input-gradients"),
    "winners take all": (winners, "beats-noise"),
    "fine waves": (lambda x, m: x + 0.01 * torch.sin(1000 * x), "local-linearity"),
    "waves as long as a step": (lambda x, m: x + 0.03 * torch.sin(60 * x), "local-linearity"),
    "steps with a slope": (
        lambda x, m: 0.98 * (16 * x).round() / 16 + 0.02 * x,
        "local-linearity",
    ),
    "slopes against the steps": (
        lambda x, m: 1.5 * (16 * x).round() / 16 - 0.5 * x,
        "local-linearity",
    ),
    "noise of the image's own": (keyed_noise, "true-gradient"),
    "random padding": (shifted, "deterministic"),
    "a counter": (counted, "deterministic"),
    "bfloat16 inside": (lambda x, m: x.bfloat16().float(), "true-gradient"),
    "a norm of nothing": (unguarded_norm, "input-gradients"),
    # models that see what is done with them
    "it looks for requires_grad": (attacked, "gradient-mode"),
    "it looks for is_grad_enabled": (graded, "gradient-mode"),
    "it looks at the batch size": (crowded, "batch-independent"),
    "it knows its place in a batch": (
        lambda x, m: x + torch.linspace(0, 0.1, len(x))[:, None, None, None],
        "batch-independent",
    ),
}
# behind the network (logits)
BEHIND = {
    "divided by 1000": (lambda z: z / 1e3, "logit-scale"),
    "divided by 30": (lambda z: z / 30, "logit-scale"),
    "multiplied by 30": (lambda z: 30 * z, "logit-scale"),
    "a temperature of the image": (
        lambda z: 2 * z / (z.amax(1) - z.amin(1))[:, None],
        "logit-scale",
    ),
    "a growing temperature": (lambda z: z * z.square().mean(1, keepdim=True), "logit-scale"),
    "the logits' cube": (lambda z: (z / 5) ** 3, "logit-scale"),
    "softmax": (lambda z: z.softmax(1), "logits"),
    "softmax, ten times": (lambda z: 10 * z.softmax(1), "logits"),
    "softmax twice": (lambda z: z.softmax(1).softmax(1), "logits"),
    "softmax before the loss's": (lambda z: z.softmax(1).log_softmax(1), "logit-scale"),
    "sigmoid": (torch.sigmoid, "logits"),
    "tanh": (torch.tanh, "logits"),
    "tanh, ten times": (lambda z: 10 * z.tanh(), "logits"),
    "normalised": (F.normalize, "logits"),
    "standardised": (lambda z: (z - z.mean(1, keepdim=True)) / z.std(1, keepdim=True), "logits"),
    "clipped probabilities": (lambda z: z.softmax(1).clamp(1e-4).log(), "logits"),
    "smoothed probabilities": (lambda z: (z.softmax(1) + 1e-4).log(), "logits"),
    "rectified": (F.relu, "logits"),
    "the best three": (lambda z: torch.where(z < z.topk(3)[0][:, 2:], -20.0, z), "logits"),
    "one-hot": (one_hot, "input-gradients"),
    "half precision": (lambda z: z.half().float(), "logits"),
    "a huge offset": (lambda z: z + 1e6, "logits"),
    "rounded, straight through": (lambda z: through(z, 1), "true-gradient"),
    "the best detached": (
        lambda z: torch.where(z < z.amax(1, keepdim=True), z, z.detach()),
        "whole-gradient",
    ),
}
# behind the network, and seen in what survives an attack on the cross-entropy
SURVIVED = {
    "unsure images / 30": lambda z: torch.where(confidence(z) < 0.9, z / 30, z),
    "softsign": F.softsign,
    "divided by 5": lambda z: z / 5,
    "multiplied by 50": lambda z: 50 * z,
    "divided by the margin": lambda z: 3 * z / (gap(z) + 0.3),
    "the square, by 20": lambda z: z * z.abs() / 20,
}
# before the network, and seen behind the attacks alone
HIDDEN = {"it looks for large batches": large, "it counts passes": patient}
# honest: no check may fail
HARMLESS = {
    "a normalisation": lambda net: Planted(net, lambda x, m: ((x - 0.3) / 0.4) * 0.4 + 0.3),
    "a slight shrinking": lambda net: Planted(net, lambda x, m: x * 0.999 + 0.0005),
    "padding that is cut off": lambda net: Planted(
        net, lambda x, m: F.pad(x, (2, 2, 2, 2))[:, :, 2:-2, 2:-2]
    ),
    "a shift of all logits": lambda net: Planted(net, behind=lambda z: z - z.amax(1)[:, None]),
    "log-softmax": lambda net: Planted(net, behind=lambda z: z.log_softmax(1)),
    "three times the logits": lambda net: Planted(net, behind=lambda z: 3 * z),
    "a distant offset": lambda net: Planted(net, behind=lambda z: z - 1000),
    "a soft bound": lambda net: Planted(net, behind=lambda z: 30 * torch.tanh(z / 30)),
}
