"""The second-order architecture gradient, against autograd and against small steps."""

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from robnet_zoo.search.core.spaces import arnas_space
from robnet_zoo.search.core.supernet import CellWeights, Supernet
from robnet_zoo.search.core.unrolled import (
    VirtualStep,
    exact_gradient,
    first_order_gradient,
    unrolled_gradients,
)


class Case:
    """A tiny supernet in float64 and train mode, two batches and a momentum buffer."""

    def __init__(self):
        draw = torch.Generator().manual_seed(0)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = Supernet(arnas_space(layers=4), channels=2, in_channels=1).double().train()
        self.net, self.roles = net, net.space.roles
        self.weights = dict(net.named_parameters())
        self.architecture = [
            torch.randn(14, 7, generator=draw, dtype=torch.float64).requires_grad_()
            for _ in self.roles
        ]
        buffers = {
            name: 0.1 * torch.randn(weight.shape, generator=draw, dtype=torch.float64)
            for name, weight in self.weights.items()
        }
        self.step = VirtualStep(0.1, 0.9, 3e-4, buffers)
        self.training, self.validation = (self.objective(draw) for _ in range(2))

    def objective(self, draw):
        images = torch.rand(8, 1, 8, 8, generator=draw, dtype=torch.float64)
        labels = torch.randint(10, (8,), generator=draw)

        def loss(weights, architecture):
            mixed = (CellWeights(alpha.softmax(1)) for alpha in architecture)
            cells = dict(zip(self.roles, mixed, strict=True))
            return F.cross_entropy(functional_call(self.net, weights, (images, cells)), labels)

        return loss


@pytest.fixture(scope="module")
def case():
    return Case()


def exact(case):
    return exact_gradient(
        case.validation, case.training, case.weights, case.architecture, case.step
    )


def relative(found, true):
    return float((found - true).norm() / true.norm())


def test_finite_differences_agree_with_autograd(case):
    arguments = (case.training, case.weights, case.architecture, case.step)
    (found,) = unrolled_gradients([case.validation], *arguments, radius=1e-6)
    true = exact(case)
    assert relative(found.gradient, true.gradient) < 1e-6
    assert float(found.loss) == pytest.approx(float(true.loss), rel=1e-12)


def test_where_losses_are_smooth_the_error_falls_with_the_square_of_the_radius():
    draw = torch.Generator().manual_seed(0)
    weights = {"w": torch.randn(5, 3, generator=draw, dtype=torch.float64)}
    architecture = [torch.randn(3, generator=draw, dtype=torch.float64).requires_grad_()]

    def training(weights, architecture):
        return (weights["w"] @ architecture[0].softmax(0)).tanh().square().sum()

    def validation(weights, architecture):
        return (weights["w"] @ architecture[0].tanh()).sigmoid().sum()

    step = VirtualStep(0.5)
    true = exact_gradient(validation, training, weights, architecture, step).gradient
    errors = []
    for radius in (0.1, 0.01):
        (found,) = unrolled_gradients([validation], training, weights, architecture, step, radius)
        errors.append(relative(found.gradient, true))
    assert errors[1] < 1e-4  # the default radius
    assert errors[0] / errors[1] == pytest.approx(100, rel=0.1)
    first = first_order_gradient(validation, weights, architecture).gradient
    assert relative(first, true) > 0.01


def test_autograd_agrees_with_small_changes_of_the_architecture(case):
    def after(architecture):
        weights = list(case.weights.values())
        gradients = torch.autograd.grad(case.training(case.weights, architecture), weights)
        return case.validation(case.step(case.weights, gradients), architecture).item()

    true, size = exact(case).gradient, 1e-6
    for index in (40, 150, 293):
        ends = []
        for sign in (1, -1):
            flat = torch.cat([alpha.detach().flatten() for alpha in case.architecture])
            flat[index] += sign * size
            ends.append(after([part.view(14, 7) for part in flat.split(98)]))
        assert (ends[0] - ends[1]) / (2 * size) == pytest.approx(float(true[index]), rel=1e-4)


def test_nothing_is_changed_and_several_objectives_share_a_step(case):
    before = {name: weight.detach().clone() for name, weight in case.weights.items()}
    arguments = (case.training, case.weights, case.architecture, case.step)
    both = unrolled_gradients([case.validation, case.training], *arguments)
    (alone,) = unrolled_gradients([case.training], *arguments)
    assert torch.equal(both[1].gradient, alone.gradient)
    assert all(torch.equal(before[name], weight) for name, weight in case.weights.items())
    assert all(weight.grad is None for weight in [*case.weights.values(), *case.architecture])


def test_without_a_learning_rate_second_order_is_first_order(case):
    arguments = (case.training, case.weights, case.architecture, VirtualStep(0.0))
    (found,) = unrolled_gradients([case.validation], *arguments)
    first = first_order_gradient(case.validation, case.weights, case.architecture)
    assert torch.equal(found.gradient, first.gradient)


def test_the_virtual_step_is_the_one_that_sgd_takes():
    weight = torch.tensor([1.0, -2.0], requires_grad=True)
    optimizer = torch.optim.SGD([weight], 0.1, momentum=0.9, weight_decay=0.01)
    for slope in ([1.0, 2.0], [3.0, -1.0]):
        weight.grad = torch.tensor(slope)
        state = optimizer.state[weight]
        buffers = {"w": state["momentum_buffer"].clone()} if state else {}
        expected = VirtualStep(0.1, 0.9, 0.01, buffers)({"w": weight.detach()}, [weight.grad])
        optimizer.step()
        torch.testing.assert_close(weight.detach(), expected["w"])
