"""The kernel of separable convolutions against torch's own, in Triton's interpreter; no GPU."""

from importlib.util import find_spec

import pytest
import torch

from robnet_zoo import create_model
from robnet_zoo.models.fast.folded import fold
from robnet_zoo.models.fast.folded_layers import FusedSeparable
from robnet_zoo.models.fast.folded_network import FoldedNetwork
from robnet_zoo.models.layers import _Concat

COMPARE = """
import torch
import torch.nn.functional as F
from robnet_zoo.models.fast.fused import separable, trained

torch.manual_seed(0)
for inputs, outputs, size, dilation, relu, side in (
    (36, 36, 3, 1, True, 8),
    (36, 72, 5, 1, False, 8),
    (40, 40, 5, 2, True, 7),
    (72, 16, 3, 2, False, 5),
):
    x = torch.randn(3, inputs, side, side).contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    taps, mixing = torch.randn(inputs, 1, size, size), torch.randn(outputs, inputs, 1, 1)
    bias = torch.randn(outputs)
    ours = separable(x, taps, mixing, bias, dilation=dilation, relu=relu)
    hidden = F.conv2d(x, taps, None, 1, dilation * (size // 2), dilation, inputs)
    theirs = F.conv2d(hidden, mixing, bias)
    theirs = theirs.relu() if relu else theirs
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    upstream = torch.randn_like(theirs).contiguous()  # in another layout, as slices may be
    (mine,) = torch.autograd.grad(ours, x, upstream)
    (other,) = torch.autograd.grad(theirs, x, upstream)
    torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)
    assert ours.is_contiguous(memory_format=torch.channels_last)

    leaves = [x, taps.requires_grad_(), mixing.requires_grad_()]
    ours = trained(*leaves, dilation=dilation)
    hidden = F.conv2d(x, taps, None, 1, dilation * (size // 2), dilation, inputs)
    theirs = F.conv2d(hidden, mixing)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    for mine, other in zip(
        torch.autograd.grad(ours, leaves, upstream), torch.autograd.grad(theirs, leaves, upstream)
    ):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-3)
print("alike")
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton comes with torch for CUDA only")
@pytest.mark.slow
def test_the_kernel_is_torchs_two_convolutions_and_their_gradient(run_python):
    printed, _ = run_python(COMPARE, TRITON_INTERPRET="1")
    assert printed == "alike\n"


def shaken(name, **sizes):
    torch.manual_seed(0)
    model = create_model(name, **sizes).double().eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("name", ["racl", "robnet_free", "arnas", "amoebanet_a"])
def test_the_fused_form_is_the_plain_network(name, padded):
    model = shaken(name, channels=6)
    fused = FoldedNetwork(model, "fused", padded=padded).eval()
    assert sum(isinstance(module, FusedSeparable) for module in fused.modules()) > 100
    images = torch.rand(2, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    found = [net(images) for net in (model, fused)]
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)
    gradients = [torch.autograd.grad(logits.square().sum(), images)[0] for logits in found]
    torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-10)


def test_wide_and_strided_convolutions_are_computed_densely():
    fused = fold(create_model("racl"), "fused")  # 36, 72 and 144 channels
    widths = {
        module.depthwise.weight.shape[0]
        for module in fused.modules()
        if hasattr(module, "depthwise")
    }
    assert widths == {36, 72}
    assert all(
        module.depthwise.stride == (1, 1)
        for module in fused.modules()
        if hasattr(module, "depthwise")
    )


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_concatenation_hands_on_gradients_in_one_piece(layout):
    maps = [
        torch.randn(2, width, 4, 4).contiguous(memory_format=layout).requires_grad_()
        for width in (3, 5)
    ]
    seen = []
    for number, x in enumerate(maps):
        maps[number] = x * 1  # whose gradient is what is handed on
        maps[number].register_hook(seen.append)
    joined = _Concat.apply(*maps)
    assert torch.equal(joined, torch.cat(maps, 1))
    upstream = torch.randn_like(joined)
    joined.backward(upstream)
    assert all(gradient.is_contiguous(memory_format=layout) for gradient in seen)
    assert torch.equal(torch.cat(sorted(seen, key=lambda g: g.shape[1]), 1), upstream)
