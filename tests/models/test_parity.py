"""Numeric agreement with the authors' own code, from fixtures made with it.

`golden/robnet_tiny.json.gz` and `golden/cell_networks_tiny.json.gz` hold shapes, logits and
gradients of small networks built by the official RobNet and RACL (AdvRush) code, together with
the rules that filled their parameters.
"""

import gzip
import hashlib
import json
import zlib
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.plain import plain_cell
from robnet_zoo.genotypes import published
from robnet_zoo.models import build_network, count_macs, count_parameters

pytestmark = pytest.mark.parity

GOLDEN = Path(__file__).parents[1] / "golden"
TOLERANCE = 1e-5  # float32, tiny networks
TRAIN_TOLERANCE = 1e-3  # batch statistics of two images amplify rounding


def golden(name):
    with gzip.open(GOLDEN / f"{name}.json.gz", "rt", encoding="utf-8") as file:
        return json.load(file)


def seeded(seed, make):
    """Return make() under a global seed, leaving the caller's generator alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


@contextmanager
def edge_by_edge(network):
    """Let the cells run as the official code does; `test_grouped.py` checks that it is the same."""
    for cell in network.cells:
        cell.forward = partial(plain_cell, cell)
    yield
    for cell in network.cells:
        del cell.forward


# --- RobNet -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def robnet():
    return golden("robnet_tiny")["models"]["tiny_large_c8_l5"]


@pytest.fixture
def tiny():
    """The large code at C=8, L=5, initialised as the official code is after manual_seed(0)."""
    return seeded(0, lambda: build_network(published("robnet_large"), channels=8, layers=5))


def robnet_images(robnet):
    images = seeded(1, lambda: torch.rand(2, 3, robnet["input_size"], robnet["input_size"]))
    assert images.double().sum().item() == pytest.approx(robnet["input_sum"], abs=1e-3)
    return images


def role_values(role, what, size, draw):
    state = np.random.RandomState(zlib.crc32(f"{role}/{what}".encode()) & 0xFFFFFFFF)
    if draw == "uniform":
        return state.uniform(0.5, 1.5, size)
    return state.standard_normal(size)


def put(tensor, values):
    with torch.no_grad():
        tensor.copy_(torch.from_numpy(np.asarray(values)).reshape(tensor.shape).float())


def fill_statistics(model, robnet, scales):
    for entry in robnet["exec_order"]["modules"]:
        if entry["type"] == "BatchNorm2d":
            layer, role = model.get_submodule(entry["official_name"]), entry["role"]
            scale, size = scales[role], layer.num_features
            put(
                layer.running_mean,
                0.2 * np.sqrt(scale) * role_values(role, "running_mean", size, "n"),
            )
            put(layer.running_var, scale * role_values(role, "running_var", size, "uniform"))


def fill_parameters(model, robnet):
    for entry in robnet["exec_order"]["modules"]:
        layer, role = model.get_submodule(entry["official_name"]), entry["role"]
        if isinstance(layer, nn.BatchNorm2d):
            if layer.affine:
                put(layer.weight, role_values(role, "weight", layer.num_features, "uniform"))
                put(layer.bias, 0.1 * role_values(role, "bias", layer.num_features, "n"))
            continue
        fan_in = layer.weight[0].numel()
        gain = 2.0 if isinstance(layer, nn.Conv2d) else 1.0
        values = role_values(role, "weight", layer.weight.numel(), "n")
        put(layer.weight, values * np.sqrt(gain / fan_in))
        if isinstance(layer, nn.Linear):
            put(layer.bias, 0.1 * role_values(role, "bias", layer.bias.numel(), "n"))


def check_forward_and_gradients(model, robnet, expected):
    images = robnet_images(robnet).requires_grad_()
    logits = model.eval()(images)
    torch.testing.assert_close(
        logits, torch.tensor(expected["logits"]), atol=TOLERANCE, rtol=TOLERANCE
    )
    labels = torch.tensor(robnet["labels"])
    loss = nn.functional.cross_entropy(logits, labels, reduction="sum")
    loss.backward()
    gradient = images.grad
    assert gradient is not None
    measured = {
        "logits_sum": logits.sum().item(),
        "loss_sum": loss.item(),
        "input_grad_l1": gradient.abs().double().sum().item(),
        "input_grad_l2": gradient.double().norm().item(),
        "input_grad_first8": gradient.flatten()[:8].tolist(),
        "param_grad_l2": sum(p.grad.double().square().sum().item() for p in model.parameters())
        ** 0.5,
    }
    for key, value in measured.items():
        assert value == pytest.approx(expected[key], rel=1e-4, abs=1e-6), key


def test_robnet_has_the_official_state_dict(robnet, tiny):
    shapes = {name: list(tensor.shape) for name, tensor in tiny.state_dict().items()}
    assert list(shapes.items()) == list(robnet["state_shapes"].items())
    assert count_parameters(tiny) == robnet["num_params"]
    assert count_macs(tiny, (3, 32, 32)) == robnet["macs_per_image"]


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"),
    reason="without these instructions torch draws normal numbers whose last bits are others",
)
def test_robnet_initialises_as_the_official_code_does(robnet, tiny):
    state = b"".join(tensor.numpy().tobytes() for tensor in tiny.state_dict().values())
    assert hashlib.sha256(state).hexdigest() == robnet["native_state_sha256"]


def test_robnet_runs_the_official_layers_in_the_official_order(robnet, tiny):
    names = {layer: name for name, layer in tiny.named_modules()}
    seen = []

    def record(layer, inputs, output):
        seen.append((names[layer], layer, list(output.shape[1:])))

    for layer in names:
        if isinstance(layer, nn.Conv2d | nn.BatchNorm2d | nn.Linear):
            layer.register_forward_hook(record)
    with edge_by_edge(tiny):
        tiny.eval()(robnet_images(robnet))
    expected = robnet["exec_order"]["modules"]
    assert [name for name, _, _ in seen] == [entry["official_name"] for entry in expected]
    for (name, layer, shape), entry in zip(seen, expected, strict=True):
        assert type(layer).__name__ == entry["type"], name
        assert shape == list(entry["out_shape"]), name
        for key in ("stride", "padding", "dilation", "groups", "affine", "eps", "momentum"):
            if key in entry:
                value = getattr(layer, key)
                assert (list(value) if isinstance(value, tuple) else value) == entry[key], name


def test_robnet_with_native_initialisation_matches_the_official_code(robnet, tiny):
    expected = robnet["variant_A_native_init"]
    fill_statistics(tiny, robnet, expected["bn_scale"])
    check_forward_and_gradients(tiny, robnet, expected)


def test_robnet_with_role_seeded_weights_matches_the_official_code(robnet, tiny):
    expected = robnet["variant_B_role_seeded"]
    fill_parameters(tiny, robnet)
    fill_statistics(tiny, robnet, expected["bn_scale"])
    check_forward_and_gradients(tiny, robnet, expected)


def test_robnet_batch_statistics_match_the_official_code(robnet, tiny):
    expected = robnet["variant_B_role_seeded"]
    fill_parameters(tiny, robnet)
    fill_statistics(tiny, robnet, expected["bn_scale"])
    images = robnet_images(robnet)
    with torch.no_grad():
        train_logits = tiny.train()(images)
        eval_logits = tiny.eval()(images)
    for logits, key in (
        (train_logits, "train_mode_logits"),
        (eval_logits, "eval_logits_after_one_train_forward"),
    ):
        torch.testing.assert_close(
            logits, torch.tensor(expected[key]), atol=TRAIN_TOLERANCE, rtol=0, msg=key
        )


# --- RACL ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def racl():
    return golden("cell_networks_tiny")["evaluation_networks"]["RACL"]["small_c16_l8"]


def noise(count, stream):
    """Uniform in [-1, 1): the fixture's counter-based generator (64-bit wraparound)."""
    with np.errstate(over="ignore"):
        z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z += np.uint64(stream) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return torch.from_numpy((z >> np.uint64(11)).astype(np.float64) * (2 / 2**53) - 1)


def describe(layer, output):
    """Return a leaf module as the fixture's execution list writes it; None for one not listed."""
    out = list(output.shape[1:])
    if isinstance(layer, nn.Conv2d):
        geometry = [list(layer.stride), list(layer.padding), list(layer.dilation), layer.groups]
        return ["conv", list(layer.weight.shape), *geometry, layer.bias is not None, out]
    if isinstance(layer, nn.BatchNorm2d):
        return ["bn", [layer.num_features], layer.affine, out]
    if isinstance(layer, nn.ReLU):
        return ["relu", out]
    if isinstance(layer, nn.AvgPool2d | nn.MaxPool2d):
        pair = [[size, size] for size in (layer.kernel_size, layer.stride, layer.padding)]
        if isinstance(layer, nn.MaxPool2d):
            return ["maxpool", *pair, out]
        return ["avgpool", *pair, layer.count_include_pad, out]
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        return ["gap", out]
    if isinstance(layer, nn.Linear):
        return ["linear", list(layer.weight.shape), layer.bias is not None, out]
    return None


def execution(model, images):
    """Return (layer, description) in the order of one forward pass, auxiliary head included."""
    calls = []

    def record(layer, inputs, output):
        described = describe(layer, output)
        if described:
            calls.append((layer, described))

    handles = [layer.register_forward_hook(record) for layer in model.modules()]
    with torch.no_grad():
        model.forward_with_auxiliary(images)
    for handle in handles:
        handle.remove()
    return calls


def fill_by_execution(layers):
    filled = [m for m in layers if isinstance(m, nn.Conv2d | nn.Linear | nn.BatchNorm2d)]
    with torch.no_grad():
        for t, layer in enumerate(filled):
            if isinstance(layer, nn.BatchNorm2d):
                size = layer.num_features
                layer.weight.copy_(0.75 + 0.1 * noise(size, 4 * t + 1))
                layer.bias.copy_(0.1 * noise(size, 4 * t + 2))
                layer.running_mean.copy_(0.1 * noise(size, 4 * t + 3))
                layer.running_var.copy_(1 + 0.2 * noise(size, 4 * t + 4))
                continue
            values = noise(layer.weight.numel(), 4 * t + 1)
            bound = (6 / layer.weight[0].numel()) ** 0.5
            layer.weight.copy_((values * bound).view_as(layer.weight))
            if layer.bias is not None:
                layer.bias.copy_(0.1 * noise(layer.bias.numel(), 4 * t + 2))


@pytest.fixture(scope="module")
def racl_network(racl):
    model = build_network(
        published("racl"),
        channels=racl["init_channels"],
        layers=racl["layers"],
        num_classes=racl["num_classes"],
        auxiliary=True,
        image_size=racl["resolution"],
    )
    return model.double().eval()


@pytest.fixture(scope="module")
def racl_images(racl):
    side = racl["resolution"]
    return 0.5 + 0.5 * noise(racl["batch"] * 3 * side * side, 0).view(-1, 3, side, side)


def test_racl_sizes_match_the_official_code(racl, racl_network):
    assert count_parameters(racl_network) == racl["params_without_aux"]
    assert count_parameters(racl_network, auxiliary=True) == racl["params_total"]
    assert count_macs(racl_network, (3, 32, 32)) == racl["macs_per_image"]


def test_racl_runs_the_official_layers_in_the_official_order(racl, racl_network, racl_images):
    outputs = []
    for cell in racl_network.cells:
        cell.register_forward_hook(lambda _, __, output: outputs.append(list(output.shape[1:])))
    with edge_by_edge(racl_network):
        calls = [described for _, described in execution(racl_network, racl_images)]
    main, auxiliary = racl["exec_list"], racl["aux_exec_list"]
    assert calls[: len(main)] == main
    assert calls[len(main) :] == auxiliary
    assert outputs == racl["cell_output_channels"]


def test_racl_logits_match_the_official_code_in_float64(racl, racl_network, racl_images):
    with edge_by_edge(racl_network):
        layers = [layer for layer, _ in execution(racl_network, racl_images)]
    fill_by_execution(layers)
    with torch.no_grad():
        logits, auxiliary = racl_network.forward_with_auxiliary(racl_images)
        torch.testing.assert_close(logits, racl_network(racl_images), rtol=0, atol=0)
    for measured, key in ((logits, "logits"), (auxiliary, "aux_logits")):
        expected = torch.tensor(racl[key], dtype=torch.float64)
        torch.testing.assert_close(measured, expected, rtol=1e-9, atol=1e-11, msg=key)
