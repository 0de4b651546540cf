"""Siblings computed together give what the straightforward form gives, gradients included."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.plain import plain_network, plain_supernet
from robnet_zoo.certify import certified_margin
from robnet_zoo.genotypes import RobNetGenotype, published
from robnet_zoo.models import build_network
from robnet_zoo.models.cells import CellBlock
from robnet_zoo.models.fast.grouped import Term, edge_outputs
from robnet_zoo.models.operations import SeparableConv, SeparableMode
from robnet_zoo.search.core.spaces import EDGES, arnas_space, darts_space, robnet_space
from robnet_zoo.search.core.supernet import CellWeights, SuperCell, Supernet

NETWORKS = {
    "robnet_large": 3,
    "robnet_free": 20,
    "dsrna_cb": 3,
    "racl": 3,
    "arnas": 3,
    "nasnet_a": 3,
}
FORMS = [(True, True), (True, False), (False, True)]  # training, grouped
SPACES = {
    "arnas": arnas_space(3),
    "partial": darts_space(3, partial=2),
    "whole": darts_space(3, partial=1),
    "robnet": robnet_space(3, shared=False),
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def shaken(model: Any) -> Any:
    """Return a model in float64 whose statistics and batch norms are no longer at their start."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                module.weight.data.uniform_(0.5, 2)
                module.bias.data.normal_()
    return model.double()


def in_form(model: Any, grouped: bool) -> Any:
    for module in model.modules():
        if isinstance(module, CellBlock | SuperCell):
            module.grouped = grouped
    return model


def found(model: Any, forward: Callable[[Tensor], Tensor], *others: Tensor) -> dict[str, Any]:
    """Return logits, statistics after the pass, and the gradients of a loss by everything."""
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    leaves = [images.requires_grad_(), *model.parameters(), *others]
    logits = forward(images)
    loss = F.cross_entropy(logits, torch.arange(4))
    gradients = torch.autograd.grad(loss, leaves, materialize_grads=True)
    return {"logits": logits, "gradients": gradients, "buffers": dict(model.named_buffers())}


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("training", "grouped"), FORMS)
@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name: str, grouped: bool, training: bool) -> None:
    plain = shaken(build_network(published(name), channels=4, layers=NETWORKS[name]))
    fast = in_form(copy.deepcopy(plain), grouped).train(training)
    plain.train(training)
    assert_same(found(fast, fast), found(plain, lambda x: plain_network(plain, x)))


@pytest.mark.parametrize("mode", ["merged", "fused"])  # without a GPU, the same
@pytest.mark.parametrize("name", NETWORKS)
def test_merged_convolutions(name: str, mode: SeparableMode) -> None:
    plain = shaken(build_network(published(name), channels=4, layers=NETWORKS[name]))
    merged = in_form(copy.deepcopy(plain), False)
    convolutions = [module for module in merged.modules() if isinstance(module, SeparableConv)]
    for module in convolutions:
        module.mode = mode
    depthwise = []
    for module in merged.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            module.register_forward_hook(lambda *_: depthwise.append(1))
    ours, theirs = found(merged, merged), found(plain, lambda x: plain_network(plain, x))
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)  # twenty cells add up roundings
    assert convolutions and not depthwise


def test_shared_relus_leave_logits_as_they_are_bit_by_bit() -> None:
    network = in_form(build_network(published("racl"), channels=4, layers=3), False)
    plain, images = copy.deepcopy(network), torch.rand(4, 3, 8, 8)
    assert torch.equal(network(images), plain_network(plain, images))


def drawn_weights(space: Any, kind: str) -> dict[str, CellWeights]:
    shape = (EDGES, len(space.operations))
    weights = {}
    for role in space.roles:
        if kind == "switches":
            switches = torch.rand(shape) < 0.5
            switches[:2] = False  # a node without any input
            weights[role] = CellWeights(tuple(map(tuple, switches.tolist())))
            continue
        operations = torch.randn(shape).double().requires_grad_()
        edges = torch.randn(EDGES).double().requires_grad_() if kind == "edges" else None
        weights[role] = CellWeights(operations, edges)
    return weights


@pytest.mark.parametrize(("training", "grouped"), FORMS)
@pytest.mark.parametrize(
    ("space", "kind"),
    [
        ("arnas", "operations"),
        ("partial", "edges"),
        ("partial", "operations"),
        ("whole", "edges"),
        ("robnet", "operations"),
        ("robnet", "switches"),
    ],
)
def test_supernets(space: str, kind: str, grouped: bool, training: bool) -> None:
    plain = shaken(Supernet(SPACES[space], channels=4)).train(training)
    fast = in_form(copy.deepcopy(plain), grouped)
    weights = drawn_weights(SPACES[space], kind)
    by = [t for cell in weights.values() for t in cell if isinstance(t, Tensor)]
    theirs = found(plain, lambda x: plain_supernet(plain, x, weights), *by)
    ours = found(fast, lambda x: fast(x, weights), *by)
    if kind == "switches":  # what is off is not computed, so its statistics rest
        del theirs["buffers"], ours["buffers"]
    assert_same(ours, theirs)


@pytest.mark.parametrize("grouped", [True, False])
def test_second_derivatives(grouped: bool) -> None:
    """As DSRNA needs them: the gradient of a gradient's norm by the architecture, in eval mode."""
    plain = shaken(Supernet(SPACES["partial"], channels=4)).eval()
    fast = in_form(copy.deepcopy(plain), grouped)
    weights = drawn_weights(SPACES["partial"], "edges")
    by = [t for cell in weights.values() for t in cell if isinstance(t, Tensor)]
    images = torch.rand(2, 3, 8, 8).double().requires_grad_()

    def slopes(logits: Tensor) -> tuple[Tensor, ...]:
        (gradient,) = torch.autograd.grad(logits.square().sum(), images, create_graph=True)
        return torch.autograd.grad(gradient.abs().sum(), by, materialize_grads=True)

    ours, theirs = slopes(fast(images, weights)), slopes(plain_supernet(plain, images, weights))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


def test_grouped_supernets_can_be_certified() -> None:
    one = shaken(Supernet(SPACES["partial"], channels=4)).eval()
    weights = drawn_weights(SPACES["partial"], "edges")
    images, labels = torch.rand(1, 3, 8, 8).double(), torch.tensor([0])
    margins = [
        certified_margin(
            lambda x, grouped=grouped: in_form(one, grouped)(x, weights),
            images, labels, 1e-4, norm="Linf", method="mixed",
        )
        for grouped in (False, True)
    ]  # fmt: skip
    torch.testing.assert_close(*margins)


def test_the_parameters_stay_where_they_are() -> None:
    """Either form loads and saves the same file, and both train it."""
    genotype = RobNetGenotype("all", "searched here", "test", (("11",) * EDGES,))
    network = build_network(genotype, channels=4, layers=3)
    names = list(network.state_dict())
    in_form(network, True)(torch.rand(2, 3, 8, 8)).sum().backward()
    assert list(network.state_dict()) == names
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert int(network.state_dict()["cells.0._ops.0.op.conv.op.3.num_batches_tracked"]) == 1


def test_a_batch_norm_of_another_kind_is_left_to_itself() -> None:
    class Halved(nn.BatchNorm2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) / 2

    genotype = RobNetGenotype("all", "searched here", "test", (("01",) * EDGES,))
    network = build_network(genotype, channels=4, layers=3).double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.__class__ = Halved
    other = in_form(copy.deepcopy(network), True)
    assert_same(found(other, other), found(network, network))


def test_a_state_without_readers_costs_nothing() -> None:
    assert edge_outputs(torch.rand(1, 2, 4, 4), {}) == {}


@pytest.mark.parametrize("grouped", [True, False])
def test_a_compiled_cell_gives_the_same(grouped: bool) -> None:
    network = in_form(build_network(published("racl"), channels=4, layers=3), grouped).eval()
    cell, inputs = network.cells[0], torch.rand(2, 1, 12, 8, 8)
    compiled = torch.compile(cell, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(*inputs), cell(*inputs))


def test_a_term_is_multiplied_by_its_scale() -> None:
    x, half = torch.rand(1, 2, 4, 4), torch.tensor(0.5)
    given = edge_outputs(x, {"edge": [Term(nn.Identity(), half), Term(nn.Identity())]})
    torch.testing.assert_close(given, {"edge": 1.5 * x})
