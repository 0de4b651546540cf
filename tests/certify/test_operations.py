"""What a graph may be made of, and what is refused because its bounds would not hold."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from robnet_zoo.certify import bounds, certified_margin
from robnet_zoo.certify.margins import METHODS
from robnet_zoo.runtime.errors import ZooError


def batch(count=2):
    draws = torch.Generator().manual_seed(0)
    return torch.rand(count, 3, 4, 4, generator=draws, dtype=torch.float64)


WEIGHT = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(1)).double()
SCALE = torch.tensor([2.0, -0.5, 3.0]).double().view(3, 1, 1)

AFFINE = {
    "view": lambda x: x.view(len(x), -1, 8).view(x.size(0), -1, 2),
    "reshape": lambda x: torch.reshape(x.transpose(1, 3), (-1, 48)),
    "mean": lambda x: x.mean((2, 3)) - x.mean(-1, keepdim=True).flatten(1).mean(1, True),
    "div": lambda x: x / SCALE - torch.div(x, -4),
    "div_": lambda x: x.clone().div_(SCALE),
    "rsub": lambda x: 1 - x,
    "rsub_tensor": lambda x: torch.rsub(x, SCALE, alpha=3),
    "neg": lambda x: -x,
    "sub": lambda x: x - SCALE,
    "sub_alpha": lambda x: torch.sub(x, 2 * x, alpha=0.25) - torch.sub(SCALE, x, alpha=2),
    "add_alpha": lambda x: torch.add(x, x.transpose(2, 3), alpha=-3) + torch.add(1, x, alpha=2),
    "add_constant_alpha": lambda x: torch.add(input=x, other=SCALE, alpha=5),
    "grown": lambda x: x.mean((2, 3), keepdim=True) + torch.ones(1, 1, 2, 2).double(),
    "broadcast": lambda x: x + x.mean((2, 3), keepdim=True) * SCALE,
    "chunk": lambda x: torch.cat([*x.chunk(2, 1)[::-1], *torch.chunk(x, chunks=3, dim=2)[:0]], 1),
    "pad": lambda x: F.pad(x, (1, 0, 2, 1), value=-0.3),
    "reflected": lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
    "circular": lambda x: F.pad(x, (1, 1, 1, 1), mode="circular"),
    "same": lambda x: F.conv2d(x, WEIGHT, padding="same"),
    "valid": lambda x: F.conv2d(input=x, weight=WEIGHT, padding="valid", stride=2),
    "averages": lambda x: F.avg_pool2d(x, 3, stride=2, padding=1, divisor_override=5),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", AFFINE)
def test_bounds_of_affine_operations_are_exact(name, method):
    images = batch()
    size = AFFINE[name](images).flatten(1).shape[1]
    head = torch.randn(4, size, generator=torch.Generator().manual_seed(2)).double()

    def model(x):
        return F.linear(AFFINE[name](x).flatten(1), head)

    low, high = bounds(model, images, 0.1, method="mixed" if method == "interval" else method)
    jacobian = torch.autograd.functional.jacobian(lambda x: model(x).sum(0), images)
    step = jacobian.sign() * 0.1
    most = (jacobian * ((images + step).clamp(0, 1) - images)).flatten(2).sum(2).T
    least = (jacobian * ((images - step).clamp(0, 1) - images)).flatten(2).sum(2).T
    torch.testing.assert_close(high, model(images) + most, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(low, model(images) + least, rtol=1e-6, atol=1e-6)
    if method == "interval":  # boxes are exact for one operation
        low, high = bounds(lambda x: AFFINE[name](x).flatten(1), images, 0.1, method=method)
        values = torch.stack([AFFINE[name](corner).flatten(1) for corner in corners(images)])
        assert (values >= low - 1e-9).all()
        assert (values <= high + 1e-9).all()


def corners(images, count=50):
    draws = torch.Generator().manual_seed(3)
    for _ in range(count):
        signs = torch.randn(images.shape, generator=draws, dtype=images.dtype).sign()
        yield (images + 0.1 * signs).clamp(0, 1)


class Softmax(nn.Module):
    def forward(self, x):
        return x.flatten(1).softmax(1)


class Square(nn.Module):
    def forward(self, x):
        return (x * x).flatten(1)


class Deciding(nn.Module):
    def forward(self, x):
        return x.flatten(1) if x.sum() > 0 else -x.flatten(1)


class OverwritingNet(nn.Module):
    """relu(x - 0.7), by overwriting."""

    def forward(self, x):
        z = x - 0.5
        z -= 0.2
        F.relu(z, inplace=True)
        return z.flatten(1)


class Viewing(nn.Module):
    """Changes what another name looks at."""

    def forward(self, x):
        z = x - 0.5
        view = z.flatten(1)
        z += 1
        return view


class Rectifying(nn.Module):
    """The same, and it shows only where something is negative: not at the image."""

    def forward(self, x):
        z = x - 0.3
        view = z.flatten(1)
        z.relu_()
        return view


class Copying(nn.Module):
    def forward(self, x):
        return x.flatten(1) * 0.1 + torch.tensor(x).flatten(1)


class Mapping(nn.Module):
    def forward(self, x):
        return torch.func.vmap(lambda image: 2 * image.flatten())(x) + 0 * x.flatten(1)


class Drawing(nn.Module):
    def forward(self, x):
        return x.flatten(1) + 0.01 * torch.rand(x.shape[1] * 16)


def plain(count=2):
    return torch.full((count, 1, 4, 4), 0.5)


def test_values_that_are_overwritten_count_as_they_are_afterwards():
    low, high = bounds(OverwritingNet(), plain().double(), 0.3, method="interval")
    torch.testing.assert_close(low, torch.zeros_like(low))
    torch.testing.assert_close(high, torch.full_like(high, 0.1))


@pytest.mark.filterwarnings("ignore:To copy construct")
@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Softmax(), "'softmax'"),
        (Square(), "product"),
        (Deciding(), "'sum'"),
        (Viewing(), "in place"),
        (Rectifying(), "in place"),
        (Copying(), "torch.tensor"),
        (Mapping(), "vmap|logits"),
        (Drawing(), "random"),
        (nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16)), "training mode"),
        (nn.Sequential(nn.Dropout(), nn.Flatten()), "random"),
        (nn.Sequential(nn.ReLU()), "logits"),
    ],
)
def test_models_that_bounds_are_not_known_for_are_refused(model, words):
    with pytest.raises(ZooError, match=words):
        bounds(model, plain(1), 0.1, method="interval")


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (lambda x: 1 / x, "division by a value"),
        (lambda x: x.reciprocal(), "division by a value"),
        (lambda x: x / x, "'div'"),
        (lambda x: torch.div(x, 2, rounding_mode="floor"), "'div' with these arguments"),
        (lambda x: x / 0.0 + 1 / torch.zeros(1), "not finite"),
        (lambda x: x.mean(), "'mean' over the images"),
        (lambda x: x.mean((0, 1)), "'mean' over the images"),
        (lambda x: x.mean(1, dtype=torch.float64), "'mean' with these arguments"),
        (lambda x: x + torch.ones(x.shape), "'add' with a constant that differs"),
        (lambda x: x.flatten(0, 2), "'flatten' that moves images"),
        (
            lambda x: x.view(torch.int32),
            "'view' that moves images",
        ),
        (lambda x: x.reshape(4, 8), "'reshape' that moves images"),
        (lambda x: x.permute(1, 0, 2, 3), "'permute' that moves images"),
        (lambda x: x[:1], "'__getitem__' that moves images"),
        (lambda x: F.pad(x, (1, 1), value=-torch.inf), "'pad' with a value that is not finite"),
        (lambda x: torch.add(x, 1, out=torch.empty(0)), "'add'"),
        (lambda x: torch.zeros(x.shape).add_(x), "'add_' that writes"),
        (lambda x: F.conv2d(torch.ones(1, 1, 4, 4), x), "'conv2d' whose other arguments"),
        (lambda x: F.max_pool2d(x, 2, ceil_mode=True), "'max_pool2d' with dilation"),
        (lambda x: x.mT, "'mT'"),
        (lambda x: x.data, "'data'"),
        (lambda x: x.detach(), "'detach'"),
        (lambda x: x.abs(), "'abs'"),
        (lambda x: x * 1.0 if x[0, 0, 0, 0] > 0 else x, "'gt'|'__getitem__'"),
        (lambda x: x + torch.ones(1, 1, 4, 4).double(), "'add' that turns"),
    ],
)
def test_what_has_no_bounds_is_refused_in_one_sentence(operation, words):
    with pytest.raises(ZooError, match=words) as refusal:
        bounds(lambda x: operation(x).flatten(1), plain(), 0.1, method="interval")
    assert "\n" not in str(refusal.value)


def test_images_moved_from_the_first_dimension_are_refused_where_only_one_is_given():
    """One grey image looks the same with its first two dimensions exchanged."""
    for operation in (lambda x: x.permute(1, 0, 2, 3), lambda x: x[:1]):
        with pytest.raises(ZooError, match="first dimension"):
            bounds(lambda x, o=operation: o(x).flatten(1), plain(1), 0.1, method="interval")


@pytest.mark.parametrize("value", [-0.01, 1.01, torch.nan])
def test_pixels_outside_of_0_to_1_are_refused(value):
    images = plain()
    images[1, 0, 2, 2] = value
    with pytest.raises(ZooError, match="Pixels"):
        certified_margin(nn.Flatten(), images, torch.zeros(2).long(), 0.1)


def test_a_margin_within_rounding_is_not_certain():
    """The first logit leads by a ten-thousandth of their spread, for certain and for nothing."""

    def model(x):
        zeros = 0 * x.flatten(1)[:, :3]
        return zeros + torch.tensor([1.0, 0.9999, 0.0], dtype=x.dtype)

    labels = torch.zeros(2).long()
    assert (certified_margin(model, plain(), labels, 0.1) < 0).all()
    assert (certified_margin(model, plain().double(), labels, 0.1) > 0).all()


def test_large_logits_of_float32_are_no_reason_to_refuse():
    """A common offset of all logits takes digits from what they differ in."""

    def model(x):
        return F.conv2d(x, torch.ones(1, 1, 3, 3)).flatten(1) * 0.01 + 3000.0

    low, high = bounds(model, plain(), 0.01)
    assert (high - low < 1.0).all()
