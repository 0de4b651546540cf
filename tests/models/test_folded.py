"""The folded form computes what the network computes in eval mode."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from robnet_zoo import create_model
from robnet_zoo.attacks.model import AttackedModel
from robnet_zoo.attacks.pgd import Adversary
from robnet_zoo.data import load_split, to_float
from robnet_zoo.eval import evaluate
from robnet_zoo.models.fast.chains import Chain, chains
from robnet_zoo.models.fast.folded import fold
from robnet_zoo.models.fast.folded_layers import FoldedConv, FoldedNorm
from robnet_zoo.models.fast.folded_network import FoldedNetwork
from robnet_zoo.models.fast.refresh import refresh
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.threat_models import Epsilon, ThreatModel

SMALL = {"channels": 4, "layers": 6}
# every operation of the zoo occurs: separable, dilated and 7x1 convolutions, pools, identities,
# factorised reductions, RobNet's edges, denoising, both stems
NETWORKS = {
    "robnet_free": {"channels": 4},
    "robnet_large": SMALL,
    "robnet_small": SMALL | {"denoise": True},
    "racl": SMALL,
    "arnas": SMALL,
    "pc_darts": SMALL,
    "nasnet_a": SMALL,
    "amoebanet_a": SMALL,
    "resnet18": {"channels": 4},
    "resnet50": {"channels": 4},
    "wrn_28_10": {"channels": 2},
    "densenet121": {"channels": 4},
    "vgg19": {"channels": 4},
}


def build(name, side=16, **sizes):
    """Return a network in float64 whose batch norms are all different, and images for it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = create_model(name, **sizes).double()
        images = torch.rand(4, 3, side, side, dtype=torch.float64)
        for norm in network.modules():
            if isinstance(norm, nn.BatchNorm2d):
                if norm.affine:
                    nn.init.uniform_(norm.weight, 0.5, 1.5)
                    nn.init.normal_(norm.bias, 0, 0.2)
                norm.momentum = 1.0
        with torch.no_grad():
            network.train()(images)
            for norm in network.modules():
                if isinstance(norm, nn.BatchNorm2d):
                    norm.running_mean += 0.1 * torch.randn_like(norm.running_mean)
    return network.eval(), images


def look(model, images):
    """Return logits and the gradient of their cross-entropy by the images."""
    leaf = images.clone().requires_grad_()
    logits = model(leaf)
    loss = F.cross_entropy(logits, torch.arange(len(images)))
    return logits.detach(), torch.autograd.grad(loss, leaf)[0]


def apart(a, b):
    """Return the largest difference as a share of the largest value."""
    return float((a - b).abs().max() / a.abs().max())


@pytest.mark.parametrize("form", ["separable", "dense"])
@pytest.mark.parametrize("name", NETWORKS)
def test_folding_changes_neither_logits_nor_gradients(name, form):
    network, images = build(name, **NETWORKS[name])
    logits, gradients = look(network, images)
    folded = fold(network, form)
    assert folded is not network
    folded_logits, folded_gradients = look(folded, images)
    assert apart(logits, folded_logits) < 1e-10
    assert apart(gradients, folded_gradients) < 1e-10


PADDED = ["racl", "robnet_free", "arnas", "amoebanet_a"]


def added(conv):
    """Return how many channels of zeros each chain's outputs and all of its inputs have."""
    return conv.zeros.outputs, conv.zeros.parts * conv.zeros.inputs


@pytest.mark.parametrize("channels", [4, 6])
@pytest.mark.parametrize("name", PADDED)
def test_channels_of_zeros_change_nothing_and_stay_zeros(name, channels):
    network, images = build(name, **NETWORKS[name] | {"channels": channels})
    folded = FoldedNetwork(network, "dense", padded=True).eval()
    plain, padded = look(network, images), look(folded, images)
    assert apart(plain[0], padded[0]) < 1e-10
    assert apart(plain[1], padded[1]) < 1e-10
    seen = []

    def check(maps, width):
        """Maps of so many channels, each followed by zeros to a multiple of 8."""
        for part in maps.split(width + -width % 8, dim=1):
            assert part.shape[1] == width + -width % 8
            assert not part[:, width:].count_nonzero()
            assert part[:, :width].count_nonzero()
        seen.append(width)

    for layer in folded.modules():
        if isinstance(layer, FoldedConv) and layer is not folded.classifier:
            out = layer.chains[0].shape[0]
            layer.register_forward_hook(lambda module, x, y, out=out: check(y, out))
    for cell, own in zip(folded.cells, network.cells, strict=True):
        out = own.preprocess1.op[1].out_channels
        cell.register_forward_hook(lambda module, x, y, out=out: check(y, out))
    folded(images)
    assert {channels, 2 * channels, 3 * channels} <= set(seen)


def test_channels_of_zeros_behind_the_imagenet_stem():
    network, images = build("racl", side=64, channels=4, layers=3, stem="imagenet")
    folded = FoldedNetwork(network, "dense", padded=True).eval()
    assert apart(look(network, images)[1], look(folded, images)[1]) < 1e-10


@pytest.mark.parametrize("channels", [4, 6])
@pytest.mark.parametrize("name", PADDED)
def test_a_padded_bfloat16_form_is_close_to_the_plain_form(name, channels):
    network, images = build(name, **NETWORKS[name] | {"channels": channels})
    network, images = network.float(), images.float()
    exact = look(network, images)
    with torch.autocast("cpu", torch.bfloat16):
        plain = look(fold(network, "dense"), images)
        padded = look(fold(network, "dense", dtype=torch.bfloat16), images)
    for own, other, true in zip(plain, padded, exact, strict=True):
        noise = float((own - true).norm() / true.norm())  # of bfloat16
        assert float((other - own).norm() / own.norm()) < noise + 1e-3


def test_only_a_wholly_dense_bfloat16_form_has_channels_of_zeros():
    def padded(model):
        return any(any(added(m)) for m in model.modules() if isinstance(m, FoldedConv))

    network = build("racl", **SMALL)[0].float()
    half = torch.bfloat16
    assert padded(fold(network, "dense", dtype=half))
    assert not padded(fold(network, "dense"))
    assert not padded(fold(network, "separable", dtype=half))
    assert not padded(fold(network, dtype=half))
    assert not padded(fold(network, image_size=8, dtype=half))
    assert not padded(FoldedNetwork(network, "separable", padded=True))
    assert not padded(fold(build("racl", channels=8, layers=3)[0].float(), "dense", dtype=half))
    denoising = build("robnet_small", **NETWORKS["robnet_small"])[0].float()
    assert not padded(fold(denoising, "dense", dtype=half))


def test_tensor_cores_get_channels_in_multiples_of_eight():
    folded = fold(create_model("racl"), "dense", dtype=torch.bfloat16)
    first, *others, last = (
        layer.weight.shape[:2] for layer in folded.modules() if isinstance(layer, FoldedConv)
    )
    assert tuple(first) == (112, 3)
    assert last[0] == 10 and last[1] % 8 == 0
    assert all(channels % 8 == 0 for shape in others for channels in shape)
    widths = {channels for shape in others for channels in shape}
    assert 40 in widths and 36 not in widths


def test_imagenet_stem_is_folded_too():
    network, images = build("racl", side=64, channels=4, layers=3, stem="imagenet")
    assert apart(look(network, images)[1], look(fold(network), images)[1]) < 1e-10


def test_the_dense_form_needs_far_fewer_convolutions():
    network, _ = build("robnet_large", **SMALL)

    def convolutions(model):
        return sum(isinstance(layer, nn.Conv2d | FoldedConv) for layer in model.modules())

    plain, separable, dense = map(
        convolutions, (network, fold(network, "separable"), fold(network, "dense"))
    )
    assert separable <= plain
    assert dense < plain / 4


def test_small_maps_and_kernels_are_computed_densely_and_large_ones_separably():
    network, _ = build("robnet_free", channels=8, layers=20)  # 3x3 only

    def form(size):
        return [
            any(isinstance(layer, FoldedConv) and layer.groups > 1 for layer in cell.modules())
            for cell in fold(network, image_size=size).cells
        ]

    assert not any(form(8))
    assert all(form(32)) and all(form(None))
    racl, _ = build("racl", channels=12, layers=3)  # with 3x3 and 5x5, in all of its cells
    grouped = [layer for layer in fold(racl, image_size=8).modules() if hasattr(layer, "groups")]
    assert {layer.weight.shape[2] for layer in grouped if layer.groups > 1} == {5}


@pytest.mark.parametrize("name", ["racl", "resnet18", "wrn_28_10", "densenet121"])
def test_folded_weights_ask_for_no_gradient_and_leave_the_model_alone(name):
    network, images = build(name, **NETWORKS[name])
    before = copy.deepcopy(network.state_dict())
    folded = fold(network)
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    look(folded, images)
    folded.to(torch.bfloat16)
    for key, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[key])
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("name", ["robnet_small", "resnet18"])
def test_refresh_follows_a_step_of_training(name):
    network, images = build(name, **NETWORKS[name])
    folded = fold(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    F.cross_entropy(network.train()(images), torch.arange(4)).backward()
    optimizer.step()
    network.eval()
    logits = look(network, images)[0]
    assert apart(logits, look(folded, images)[0]) > 1e-3
    refresh(folded)
    assert apart(logits, look(folded, images)[0]) < 1e-10


def shaken(network):
    """Change all weights and statistics of a network at random, in other memory."""
    for module in network.modules():
        for values in (module._parameters, module._buffers):
            for tensor in values.values():
                if tensor is not None and tensor.is_floating_point():
                    tensor.data = tensor * (0.8 + 0.4 * torch.rand_like(tensor)) + 0.01


def held(folded):
    """Return the tensors that a folded form computes with."""
    tensors = []
    for module in folded.modules():
        if isinstance(module, FoldedConv):
            tensors += [module.weight] if module.bias is None else [module.weight, module.bias]
        elif isinstance(module, FoldedNorm):
            tensors += module.own.state_dict().values()
    return tensors


class Operators(TorchDispatchMode):
    """Record the operators that run, with their arguments."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.calls.append((str(operator), args))
        return operator(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=["own", "bfloat16"])
@pytest.mark.parametrize("form", ["separable", "dense"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize(
    "name",
    [
        *("racl", "robnet_free", "robnet_small", "arnas", "amoebanet_a"),
        *("resnet18", "vgg19", "densenet121"),
    ],
)
def test_refresh_gives_to_the_bit_what_folding_anew_gives(name, layout, form, dtype):
    network = create_model(name, **NETWORKS[name]).eval().to(memory_format=layout)
    folded = fold(network, form, dtype=dtype)
    before = [tensor.clone() for tensor in held(folded)]
    places = [tensor.data_ptr() for tensor in held(folded)]
    shaken(network)
    with Operators() as operators:
        refresh(folded)
    assert [tensor.data_ptr() for tensor in held(folded)] == places
    anew = held(fold(network, form, dtype=dtype))
    for old, tensor, new in zip(before, held(folded), anew, strict=True):
        assert not tensor.is_floating_point() or not torch.equal(tensor, old)
        assert torch.equal(tensor, new)
    # equal strides: else a GPU copies tensor by tensor
    copies = [args for name, args in operators.calls if "_foreach_copy_" in name]
    for pair in copies:
        for target, source in zip(*pair, strict=True):
            assert (target.shape, target.stride()) == (source.shape, source.stride())


def test_a_copied_pair_is_refreshed_with_its_channels_of_zeros():
    pair = build("racl", **SMALL)[0].float()
    network, folded = copy.deepcopy((pair, fold(pair, "dense", dtype=torch.bfloat16)))
    shaken(network)
    refresh(folded)
    anew = fold(network, "dense", dtype=torch.bfloat16)
    for tensor, new in zip(held(folded), held(anew), strict=True):
        assert torch.equal(tensor, new)


@pytest.mark.parametrize("name", ["racl", "resnet18"])
def test_a_copied_pair_is_refreshed_like_the_first(name):
    pair = build(name, **NETWORKS[name])[0]
    network, folded = copy.deepcopy((pair, fold(pair)))
    network, folded = network.float(), folded.float()
    shaken(network)
    refresh(folded)
    for tensor, new in zip(held(folded), held(fold(network)), strict=True):
        assert torch.equal(tensor, new)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=["own", "bfloat16"])
@pytest.mark.parametrize("form", ["separable", "dense"])
def test_a_refresh_takes_few_operators_and_reads_no_value_back(form, dtype):
    folded = fold(create_model("racl"), form, dtype=dtype)
    with Operators() as operators:
        refresh(folded)
    names = [name for name, _ in operators.calls]
    assert len(names) < 400
    assert not [name for name in names if "_local_scalar_dense" in name or "lift_fresh" in name]


@pytest.mark.parametrize("form", ["separable", "dense"])
@pytest.mark.parametrize(
    "name", ["racl", "robnet_small", "amoebanet_a", "resnet18", "wrn_28_10", "densenet121"]
)
def test_weights_held_in_bfloat16_change_nothing_under_autocast_and_are_not_cast(name, form):
    network, images = build(name, **NETWORKS[name])
    network, images = network.float(), images.float()
    casts, logits = [], []
    for dtype in (None, torch.bfloat16):
        folded = fold(network, form, dtype=dtype)
        own = {conv.weight.data_ptr() for conv in folded.modules() if isinstance(conv, FoldedConv)}
        with torch.no_grad(), Operators() as operators, torch.autocast("cpu", torch.bfloat16):
            logits.append(folded(images))
        casts.append(
            sum(args[0].data_ptr() in own for name, args in operators.calls if "_to_copy" in name)
        )
    if any(any(added(conv)) for conv in folded.modules() if isinstance(conv, FoldedConv)):
        assert apart(*logits) < 0.02  # sums in another order
    else:
        assert torch.equal(*logits)
    assert casts == [len(own), 0]


@pytest.mark.parametrize("biases", [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("groups", [1, 6])
def test_a_convolution_takes_a_pointwise_one_behind_it_in(groups, biases):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first = nn.Conv2d(6, 6, 3, padding=0, groups=groups, bias=biases[0])
        layers = nn.Sequential(first, nn.Conv2d(6, 4, 1, bias=biases[1])).double()
        layers.requires_grad_(False)
        x = torch.rand(2, 6, 8, 8, dtype=torch.float64)
    (chain,) = chains(layers, dense=True)
    folded = FoldedConv(chain)
    refresh(folded)
    assert apart(layers(x), folded(x)) < 1e-12
    assert (folded.bias is None) == (not any(biases))
    twice = FoldedConv(chain, Chain(chain.layers), join="inputs")
    refresh(twice)
    assert apart(2 * layers(x), twice(torch.cat([x, x], dim=1))) < 1e-12


def test_what_cannot_be_folded_comes_back_as_it_is():
    own = nn.Sequential(nn.Flatten(), nn.Linear(12, 10))
    assert fold(own) is own
    hooked, _ = build("racl", **SMALL)
    hooked.stem.register_forward_hook(lambda module, inputs, output: 2 * output)
    assert fold(hooked) is hooked
    with pytest.raises(ZooError, match="separable"):
        fold(own, "seperable")


@pytest.mark.parametrize("name", ["racl", "densenet121"])
def test_a_class_that_computes_in_its_own_way_is_not_folded(name):
    model = create_model(name, channels=4).eval()
    assert fold(model) is not model

    class Doubled(type(model)):
        def forward(self, x):
            return 2 * super().forward(x)

    model.__class__ = Doubled
    assert fold(model) is model


def test_wrong_images_are_refused_as_by_the_network():
    network, _ = build("racl", **SMALL)
    with pytest.raises(ZooError, match="divisible by 4"):
        fold(network)(torch.rand(1, 3, 18, 18, dtype=torch.float64))


@pytest.fixture(scope="module")
def digits():
    """Digits, as pixels."""
    _, split = load_split("digits", "test")
    return to_float(split.images(torch.arange(96)))


@pytest.fixture(scope="module")
def racl(digits):
    """A small network that has never been trained, but knows how digits are distributed."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = create_model("racl", channels=4, layers=3, in_channels=1)
        with torch.no_grad():
            for _ in range(40):
                network.train()(digits)
    return network.eval()


@pytest.fixture(scope="module")
def labelled(racl, digits):
    """Digits with the labels that `racl` gives them."""
    with torch.no_grad():
        return digits, racl(digits).argmax(1)


SOME = ThreatModel("some", "Linf", Epsilon.parse("0.02"), Epsilon.parse("0.005"))  # breaks some


def judged(model, data, attack="pgd10", **settings):
    report = evaluate(model, data, [attack], SOME, **settings)
    assert 0 < report.attacks[0].robust.accuracy < 1
    return report


def test_an_evaluation_searches_the_folded_form_and_finds_the_same(racl, labelled):
    folded = judged(racl, labelled)
    plain = judged(racl, labelled, folded=False)
    assert folded.settings.folded
    assert not plain.settings.folded
    assert [c.verdict for c in folded.checks if c.name == "folded-form"] == ["passed"]
    assert [c.verdict for c in plain.checks if c.name == "folded-form"] == ["skipped"]
    assert folded.attacks[0].verdicts == plain.attacks[0].verdicts
    assert folded.attacks[0].trace.any == plain.attacks[0].trace.any


def test_verdicts_of_the_folded_form_do_not_depend_on_the_batch_size(racl, labelled):
    small, large = (judged(racl, labelled, batch_size=size) for size in (16, 96))
    assert small.attacks[0].first_broken == large.attacks[0].first_broken


class Lenient(nn.Module):
    """Calls every image of a class broken, whatever the model says."""

    def forward(self, images):
        return (
            F.one_hot(torch.full((len(images),), 3), 10).float()
            + 0 * images.sum((1, 2, 3))[:, None]
        )


def test_the_model_has_the_last_word_on_every_broken_image(racl, labelled):
    images, labels = labelled[0][:32], labelled[1][:32]
    own = FoldedNetwork(racl.eval())
    attacked_model = AttackedModel(racl, 32, attack_model=own)
    lenient = AttackedModel(racl, 32, attack_model=Lenient())
    suspected = torch.ones(32, dtype=torch.bool)
    misclassified = attacked_model.predict(images) != labels
    assert torch.equal(lenient.confirm(suspected, images, labels), misclassified)
    assert lenient.disputes(images, labels)
    assert not attacked_model.disputes(images, labels)


def test_an_attack_that_gave_up_too_early_is_repeated_on_the_model(racl, labelled, monkeypatch):
    """A form that errs makes APGD stop at clean images; the verdicts are still the model's."""
    from robnet_zoo.eval import checking
    from robnet_zoo.eval import evaluation as runner

    plain = judged(racl, labelled, "apgd-ce", n=32, folded=False)
    monkeypatch.setattr(runner, "fold", lambda model, **sizes: Lenient())
    monkeypatch.setattr(checking, "FOLDED", "no such check")  # else the form would be refused
    erring = judged(racl, labelled, "apgd-ce", n=32)
    assert erring.attacks[0].verdicts == plain.attacks[0].verdicts


def test_a_form_that_errs_is_refused_and_the_record_says_so(racl, labelled, monkeypatch):
    from robnet_zoo.eval import evaluation as runner

    monkeypatch.setattr(runner, "fold", lambda model, **sizes: Lenient())
    report = judged(racl, labelled, n=32)
    assert not report.settings.folded
    assert "folded-form" in [c.name for c in report.checks if not c.passed]
    assert any("folded form" in warning for warning in report.warnings)
    assert (
        report.attacks[0].verdicts == judged(racl, labelled, n=32, folded=False).attacks[0].verdicts
    )


def test_crafting_on_the_folded_form_makes_the_same_images(racl, labelled):
    images, labels = (part[:16] for part in labelled)
    adversary = Adversary(epsilon=0.15, step_size=0.04, steps=5, start="clean")
    racl.eval()
    plain, folded = (adversary(model, images, labels) for model in (racl, fold(racl)))
    same = ((plain - folded).abs() < 1e-5).float().mean()
    assert same > 0.99  # a sign of a gradient near zero may differ
