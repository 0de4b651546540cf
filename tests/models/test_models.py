"""Sizes, shapes and behaviour of the networks."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from robnet_zoo import genotypes
from robnet_zoo.genotypes import RobNetGenotype, published
from robnet_zoo.models import build_baseline, build_network, count_macs, count_parameters
from robnet_zoo.models.denoise import Denoise
from robnet_zoo.models.operations import OPERATIONS
from robnet_zoo.runtime.errors import ZooError

# genotype, channels, layers, classes, stem, image side, parameters, MACs
PUBLISHED_SIZES = [
    ("robnet_small", 36, 20, 100, "cifar", 32, 4_411_504, None),
    ("robnet_medium", 36, 20, 100, "cifar", 32, 5_666_032, None),
    ("robnet_large", 36, 20, 10, "cifar", 32, 6_842_710, 1_030_336_128),
    ("robnet_large", 64, 33, 10, "cifar", 32, 33_326_666, 5_094_615_040),
    ("robnet_large", 48, 20, 1000, "imagenet", 224, 12_756_448, 1_412_137_344),
    ("robnet_free", 36, 20, 10, "cifar", 32, 5_439_790, 780_177_024),
    ("robnet_free", 36, 20, 100, "cifar", 32, 5_491_720, None),
    ("racl", 36, 20, 10, "cifar", 32, 3_571_174, 549_979_776),
    ("racl", 104, 23, 10, "cifar", 32, 32_509_682, None),
    ("arnas", 64, 20, 10, "cifar", 32, 4_520_394, 1_240_151_040),
    ("arnas", 64, 20, 100, "cifar", 32, 4_566_564, None),
    ("arnas", 84, 14, 200, "cifar", 64, 5_405_684, 5_818_987_776),
    ("dsrna_cb", 36, 20, 10, "cifar", 32, 1_513_126, 241_981_056),
    ("dsrna_jacobian", 36, 20, 10, "cifar", 32, 2_130_886, 343_366_272),
    ("dsrna_combined", 36, 20, 10, "cifar", 32, 1_518_526, 242_672_256),
    ("darts_v2", 36, 20, 10, "cifar", 32, 3_349_342, 528_359_040),
    ("pc_darts", 36, 20, 10, "cifar", 32, 3_634_678, 556_670_592),
    ("p_darts", 36, 20, 10, "cifar", 32, 3_433_798, 532_174_464),
    ("nasnet_a", 36, 20, 10, "cifar", 32, 3_830_950, 603_452_448),
    ("amoebanet_a", 36, 20, 10, "cifar", 32, 3_145_078, 488_931_552),
    ("advrush", 36, 20, 10, "cifar", 32, 4_158_046, 645_337_728),
    ("e2rnas", 36, 20, 10, "cifar", 32, 2_546_470, None),
    ("rnas", 36, 20, 10, "cifar", 32, 3_495_790, None),
    ("lrnas", 36, 20, 10, "cifar", 32, 2_179_702, None),
    ("rep_pgd", 36, 20, 10, "cifar", 32, 3_553_894, None),
    ("rep_fgsm", 36, 20, 10, "cifar", 32, 3_067_030, None),
    ("rep_darts", 36, 20, 10, "cifar", 32, 3_169_414, None),
    ("rep_pdarts", 36, 20, 10, "cifar", 32, 4_123_486, None),
    ("rep_pcdarts", 36, 20, 10, "cifar", 32, 3_553_462, None),
    ("rntk", 36, 20, 10, "cifar", 32, 3_413_278, None),
    ("trnas", 36, 20, 10, "cifar", 32, 3_919_366, None),
    ("advrush", 96, 23, 10, "cifar", 32, 32_575_018, None),
]
# genotype, channels, layers, classes, image side, parameters of the auxiliary head
AUXILIARY_SIZES = [
    ("racl", 36, 20, 10, 32, 476_426),
    ("nasnet_a", 36, 20, 10, 32, 457_994),
    ("arnas", 64, 20, 10, 32, 468_234),
    ("arnas", 84, 14, 200, 64, 1_814_472),
]
BASELINE_SIZES = {
    "resnet18": (11_173_962, 555_422_720),
    "resnet50": (23_520_842, 1_297_829_888),
    "wrn_28_10": (36_479_194, 5_243_328_768),
    "densenet121": (6_956_298, 888_350_720),
    "vgg19": (20_040_522, 398_136_320),
}


def small(name="racl", **settings):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_network(published(name), **{"channels": 4, "layers": 3} | settings)


def images(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


# --- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "channels", "layers", "classes", "stem", "side", "parameters", "macs"), PUBLISHED_SIZES
)
def test_published_size(name, channels, layers, classes, stem, side, parameters, macs):
    with torch.device("meta"):
        model = build_network(
            published(name), channels=channels, layers=layers, num_classes=classes, stem=stem
        )
    assert count_parameters(model) == parameters
    if macs is not None:
        assert count_macs(model, (3, side, side)) == macs


@pytest.mark.parametrize(
    ("name", "channels", "layers", "classes", "side", "parameters"), AUXILIARY_SIZES
)
def test_published_auxiliary_head_size(name, channels, layers, classes, side, parameters):
    with torch.device("meta"):
        model = build_network(
            published(name),
            channels=channels,
            layers=layers,
            num_classes=classes,
            auxiliary=True,
            image_size=side,
        )
        logits, auxiliary = model.forward_with_auxiliary(torch.empty(2, 3, side, side))
    assert count_parameters(model, auxiliary=True) - count_parameters(model) == parameters
    assert logits.shape == auxiliary.shape == (2, classes)


@pytest.mark.parametrize("name", BASELINE_SIZES)
def test_baseline_size(name):
    with torch.device("meta"):
        model = build_baseline(name)
    assert (count_parameters(model), count_macs(model, (3, 32, 32))) == BASELINE_SIZES[name]


def test_counting_leaves_the_model_as_it_was():
    model = small().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first, second = count_macs(model, (3, 8, 8)), count_macs(model, (3, 16, 16))
    assert second > 3.9 * first  # four times the pixels; only the classifier stays
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(layer._forward_hooks for layer in model.modules())


# --- searched networks ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", genotypes.published_names())
def test_every_architecture_runs_on_digits(name):
    layers = 20 if name == "robnet_free" else 3
    model = small(name, layers=layers, in_channels=1, num_classes=7)
    x = images(3, 1, 8, 8).requires_grad_()
    logits = model(x)
    assert logits.shape == (3, 7)
    F.cross_entropy(logits, torch.tensor([0, 1, 6])).backward()
    assert torch.isfinite(x.grad).all() and x.grad.abs().sum() > 0
    assert all(p.grad is not None for p in model.parameters() if p.numel())


@pytest.mark.parametrize("side", [8, 28, 32, 64])
@pytest.mark.parametrize("name", ["robnet_large", "racl", "arnas"])
def test_image_sizes(name, side):
    model = small(name, auxiliary=True, image_size=side).eval()
    logits, auxiliary = model.forward_with_auxiliary(images(2, 3, side, side))
    assert logits.shape == auxiliary.shape == (2, 10)


def test_the_imagenet_stem_divides_the_side_by_32():
    model = small("robnet_large", stem="imagenet", num_classes=5)
    last = []
    model.cells[-1].register_forward_hook(lambda _, __, output: last.append(output.shape))
    assert model(images(2, 3, 64, 96)).shape == (2, 5)
    assert last[0][2:] == (2, 3)


def test_widths_double_at_reductions_and_arnas_doubles_once():
    for name, widths in (("racl", [4, 4, 8, 8, 16, 16]), ("arnas", [4, 4, 8, 8, 8, 8])):
        shapes = []
        model = small(name, layers=6)
        for cell in model.cells:
            cell.register_forward_hook(lambda _, __, out, s=shapes: s.append(tuple(out.shape[1:])))
        model(images(2, 3, 16, 16))
        sides = [16, 16, 8, 8, 4, 4]
        assert shapes == [(4 * w, side, side) for w, side in zip(widths, sides, strict=True)]


def test_evaluation_is_deterministic_and_images_do_not_influence_each_other():
    model = small("robnet_large").eval()
    x = images(4, 3, 16, 16)
    with torch.no_grad():
        together, again = model(x), model(x)
        alone = torch.cat([model(image[None]) for image in x])
    assert torch.equal(together, again)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def robnet(code):
    return RobNetGenotype("mine", "searched here", "a test", (tuple(code.split()),))


def test_an_absent_edge_is_one_that_adds_nothing():
    wired = "11 01 01 10 01 01 11 10 01 11 01 10 01 11"
    cut = "11 01 01 10 01 01 11 10 00 11 01 10 01 11"  # edge 8, node 2 from node 1
    full, less = (build_network(robnet(code), channels=4, layers=3) for code in (wired, cut))
    state = full.state_dict()
    for key, tensor in state.items():
        if "._ops.8." in key and key.endswith("op.6.weight"):  # the edge's last convolution
            tensor.zero_()
    missing = less.load_state_dict(state, strict=False)
    assert not missing.missing_keys
    assert all("._ops.8." in key for key in missing.unexpected_keys)
    full, less, x = full.double(), less.double(), images(2, 3, 8, 8).double()
    with torch.no_grad():
        torch.testing.assert_close(full.eval()(x), less.eval()(x), rtol=1e-10, atol=1e-10)


def test_a_node_without_edges_is_zero_in_every_cell():
    code = "11 11 00 00 00 11 11 11 11 11 11 11 11 11"
    model = build_network(robnet(code), channels=4, layers=3)
    outputs = []
    for cell in model.cells:
        cell.register_forward_hook(lambda _, __, output: outputs.append(output))
    model(images(2, 3, 8, 8))
    for output in outputs:
        first, second, *_ = output.chunk(4, dim=1)
        assert not second.any() and first.any()


def test_forward_with_auxiliary_needs_a_head_and_the_right_size():
    with pytest.raises(ZooError, match="auxiliary=True"):
        small().forward_with_auxiliary(images(2, 3, 8, 8))
    with pytest.raises(ZooError, match="image_size"):
        small(auxiliary=True).forward_with_auxiliary(images(2, 3, 16, 16))


def test_an_auxiliary_head_trains_the_first_cells_and_leaves_the_logits_alone():
    model = small(auxiliary=True, layers=6, image_size=16)
    x = images(4, 3, 16, 16)
    model.forward_with_auxiliary(x)[1].sum().backward()
    assert model.cells[0].preprocess0.op[1].weight.grad.any()
    assert model.classifier.weight.grad is None
    plain = small(layers=6)
    plain.load_state_dict(model.state_dict(), strict=False)
    with torch.no_grad():
        assert torch.equal(model.eval()(x), plain.eval()(x))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": 5}, "channels=5"),
        ({"channels": 0}, "channels=0"),
        ({"layers": 2}, "at least 3"),
        ({"num_classes": 0}, "num_classes=0"),
        ({"in_channels": 0}, "in_channels=0"),
        ({"stem": "mnist"}, "stem 'mnist'"),
        ({"image_size": 30}, "multiples of 4"),
        ({"stem": "imagenet", "image_size": 48}, "multiples of 32"),
        ({"name": "robnet_free", "layers": 8}, "use layers=20"),
    ],
)
def test_an_impossible_network_is_refused(settings, message):
    with pytest.raises(ZooError, match=message):
        small(**settings)


@pytest.mark.parametrize(
    "shape", [(2, 3, 30, 32), (2, 3, 32, 30), (2, 1, 32, 32), (3, 32, 32), (2, 3072)]
)
def test_images_that_do_not_fit_are_refused(shape):
    with pytest.raises(ZooError, match=r"it takes \(N, 3, H, W\) with H and W divisible by 4"):
        small()(images(*shape))


# --- operations -----------------------------------------------------------------------------------


def test_every_operation_of_the_genotypes_can_be_built():
    assert set(OPERATIONS) == {*genotypes.OPERATIONS, *genotypes.ROBNET_CODES}


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_keep_the_width_and_divide_the_side_by_the_stride(name, affine):
    for stride in (1, 2):
        operation = OPERATIONS[name](6, stride, affine)
        assert operation(images(2, 6, 8, 8)).shape == (2, 6, 8 // stride, 8 // stride)
        norms = [layer for layer in operation.modules() if isinstance(layer, nn.BatchNorm2d)]
        assert all(norm.affine == affine for norm in norms)


# --- feature denoising ----------------------------------------------------------------------------


def test_denoising_is_the_softmax_weighted_mean_over_positions():
    block = Denoise(4).double().eval()
    nn.init.ones_(block.bn.weight)
    x = images(1, 4, 2, 3).double()
    theta, phi = block.theta(x)[0].flatten(1), block.phi(x)[0].flatten(1)
    positions = x[0].flatten(1)
    mean = torch.zeros_like(positions)
    for p in range(6):
        weights = torch.stack([(theta[:, p] * phi[:, q]).sum() / 2**0.5 for q in range(6)]).exp()
        mean[:, p] = sum(weights[q] / weights.sum() * positions[:, q] for q in range(6))
    expected = x + block.bn(block.conv(mean.view(1, 4, 2, 3)))
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("training", [False, True])
def test_new_denoising_blocks_change_nothing_but_can_learn(training):
    plain, denoised = small("robnet_large"), small("robnet_large", denoise=True)
    kept = denoised.load_state_dict(plain.state_dict(), strict=False)
    assert all(key.startswith("denoise.") for key in kept.missing_keys)
    assert list(denoised.denoise) == ["1", "2"]  # behind both reductions
    x = images(4, 3, 8, 8)
    logits = denoised.train(training)(x)
    torch.testing.assert_close(plain.train(training)(x), logits, rtol=0, atol=0)
    logits.square().sum().backward()
    assert all(block.bn.weight.grad.any() for block in denoised.denoise.values())


# --- human-designed networks ----------------------------------------------------------------------


@pytest.mark.parametrize("side", [8, 28, 32])
@pytest.mark.parametrize("name", BASELINE_SIZES)
def test_baselines_run_on_small_images(name, side):
    model = build_baseline(name, channels=2, in_channels=1, num_classes=7)
    x = images(2, 1, side, side).requires_grad_()
    logits = model(x)
    assert logits.shape == (2, 7)
    logits.square().sum().backward()
    assert x.grad.any()


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "densenet121"])
def test_baselines_take_torchvisions_weights_and_give_its_logits_but_for_the_stem(name):
    library = pytest.importorskip("torchvision").models.get_model(name, num_classes=10)
    ours = build_baseline(name)
    if name == "densenet121":
        library.features.conv0 = ours.features.conv0
        for layer in ("norm0", "relu0", "pool0"):
            delattr(library.features, layer)
    else:
        library.conv1, library.maxpool = ours.conv1, nn.Identity()
    generator = torch.Generator().manual_seed(0)
    for layer in library.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(generator=generator).mul_(0.1)
            layer.running_var.uniform_(0.5, 2, generator=generator)
    ours.load_state_dict(library.state_dict())
    x = images(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(x), library.eval()(x))


def test_denoising_blocks_in_a_resnet_start_as_the_identity():
    plain, denoised = (build_baseline("resnet18", channels=4, denoise=d) for d in (False, True))
    denoised.load_state_dict(plain.state_dict(), strict=False)
    x = images(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(plain.eval()(x), denoised.eval()(x))
    assert sum(isinstance(layer, Denoise) for layer in denoised) == 3


def test_impossible_baselines_are_refused():
    with pytest.raises(ZooError, match="did you mean resnet18"):
        build_baseline("resnet19")
    with pytest.raises(ZooError, match="channels=3"):
        build_baseline("vgg19", channels=3)
    with pytest.raises(ZooError, match="no denoising blocks"):
        build_baseline("vgg19", denoise=True)


def test_narrow_reductions_keep_to_their_memory_on_older_processors(run_python):
    """oneDNN's AVX2 gradient of a narrow, strided 1x1 convolution would end this process."""
    script = """
import torch
from robnet_zoo.models.operations import FactorizedReduce

for inputs in (2, 4, 6):
    reduce = FactorizedReduce(inputs, 8, True).to(memory_format=torch.channels_last)
    for _ in range(200):
        x = torch.randn(8, inputs, 8, 8).contiguous(memory_format=torch.channels_last)
        reduce(x.requires_grad_()).sum().backward()
print("alive")
"""
    printed, _ = run_python(script, ONEDNN_MAX_CPU_ISA="AVX2", OMP_NUM_THREADS="1")
    assert printed == "alive\n"
