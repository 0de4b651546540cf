"""What `evaluate` takes as a model and as data, and what it refuses in one sentence."""

from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.small_nets import digits, robust_net
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from robnet_zoo import evaluate, pgd2
from robnet_zoo.attacks import get_attack
from robnet_zoo.data import load_split
from robnet_zoo.eval.inputs import take_first
from robnet_zoo.eval.normalisation import Normalised
from robnet_zoo.eval.record import read
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.threat_models import ThreatModel

N = 24
IMAGES, LABELS = digits(N)
BYTES = (IMAGES * 255).round().byte()


class Head(nn.Module):
    """The trained network, whose logits go through a function."""

    def __init__(self, function):
        super().__init__()
        self.net, self.function = robust_net(), function

    def forward(self, images):
        return self.function(self.net(images))


class InPlace(nn.Module):
    """Normalises the very images that it is given."""

    def __init__(self):
        super().__init__()
        self.net = robust_net()

    def forward(self, images):
        return self.net(images.sub_(0.5).div_(0.25).mul_(0.25).add_(0.5))


class Items(Dataset):
    """A data set of the items that a function returns."""

    def __init__(self, item):
        self.item = item

    def __len__(self):
        return N

    def __getitem__(self, index):
        return self.item(index)


class NoWayBack(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits):
        return logits.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise RuntimeError("no way back")


def judge(model, data=(IMAGES, LABELS), **options):
    return evaluate(model, data, ["pgd2"], "digits", **options)


@lru_cache
def expected():
    return judge(robust_net()).totals.verdicts


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: robust_net().forward, id="function"),
        pytest.param(lambda: Head(lambda logits: SimpleNamespace(logits=logits)), id=".logits"),
        pytest.param(lambda: Head(lambda logits: (logits, logits.argmax(1))), id="tuple"),
        pytest.param(lambda: Head(lambda logits: {"x": logits[:, :3], "logits": logits}), id="map"),
        pytest.param(InPlace, id="in place"),
        pytest.param(lambda: robust_net().double(), id="float64"),
        pytest.param(lambda: robust_net().train(), id="train mode"),
        pytest.param(lambda: nn.DataParallel(robust_net()), id="parallel"),
        pytest.param(lambda: torch.jit.trace(robust_net(), IMAGES[:2]), id="trace"),
        pytest.param(lambda: torch.jit.freeze(torch.jit.script(robust_net())), id="frozen"),
        pytest.param(lambda: Normalised(robust_net(), [0.0], [1.0]), id="normalised"),
    ],
)
def test_every_form_of_a_model_gets_the_same_verdicts(make):
    images = IMAGES.clone()
    report = judge(make(), (images, LABELS))
    assert report.totals.verdicts == expected()
    assert torch.equal(images, IMAGES)


def test_attacks_on_their_own_take_the_same_models():
    images = pgd2(robust_net(), IMAGES, LABELS, "digits")
    for model in (robust_net().forward, InPlace(), Head(lambda logits: (logits,))):
        assert torch.equal(pgd2(model, IMAGES, LABELS, "digits"), images)


def test_a_record_tells_a_function_and_double_precision(tmp_path):
    def twice(images):
        return robust_net()(images) * 2

    assert judge(twice).model.name == "twice"
    judge(robust_net().double(), out=tmp_path / "a.json")
    assert read(tmp_path / "a.json").model.precision == "float64"


def forms():
    nhwc = BYTES.permute(0, 2, 3, 1).numpy()
    items = Items(lambda i: (Image.fromarray(BYTES[i, 0].numpy()), int(LABELS[i])))
    return {
        "bytes": (BYTES, LABELS),
        "list": [IMAGES, LABELS.tolist()],
        "whole floats": (IMAGES, LABELS.float()),
        "NumPy NCHW": (IMAGES.numpy(), LABELS.numpy()),
        "NumPy NHWC": (nhwc, LABELS.numpy()),
        "NumPy grey": (nhwc[..., 0], LABELS.int().numpy()),
        "data set": TensorDataset(IMAGES, LABELS),
        "Pillow": items,
        "loader": DataLoader(TensorDataset(IMAGES, LABELS), 7),
        "split": load_split("digits", "test")[1],
    }


@pytest.mark.parametrize("form", forms())
def test_every_form_of_data_is_the_same_images(form):
    taken = take_first(forms()[form], N, torch.device("cpu"))
    assert torch.allclose(taken.take(torch.arange(N)), IMAGES, atol=1e-6)
    assert torch.equal(taken.labels, LABELS)
    few = take_first(forms()[form], 5, None)
    assert len(few) == 5
    assert few.available == (450 if form == "split" else N)


SAME = {
    "whole floats": (IMAGES, LABELS.float()),
    "int32": (IMAGES, LABELS.int()),
    "bytes of classes": (IMAGES, LABELS.byte()),
    "a list of classes": (IMAGES, LABELS.tolist()),
    "an array of classes": (IMAGES, LABELS.numpy()),
    "bytes": (BYTES, LABELS),
    "float64": (IMAGES.double(), LABELS),
    "with a gradient": (IMAGES.clone().requires_grad_(), LABELS),
    "channels last in memory": (IMAGES.to(memory_format=torch.channels_last), LABELS),
    "not contiguous": (IMAGES.transpose(2, 3).contiguous().transpose(2, 3), LABELS),
}


@pytest.mark.parametrize("form", SAME)
def test_a_plain_call_and_an_evaluation_take_the_same_tensors(form):
    images = pgd2(robust_net(), *SAME[form], "digits")
    assert torch.allclose(images, pgd2(robust_net(), IMAGES, LABELS, "digits"), atol=1e-6)
    assert (images.dtype, images.requires_grad) == (torch.float32, False)
    assert judge(robust_net(), SAME[form]).totals.verdicts == expected()


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_coarse_images_are_judged_as_they_are(kind):
    coarse = IMAGES.to(kind)
    rounded = judge(robust_net(), (coarse.float(), LABELS))
    report = judge(robust_net(), (coarse, LABELS))
    assert report.totals.verdicts == rounded.totals.verdicts
    assert report.data.sha256 != rounded.data.sha256


WRONG = [
    ((IMAGES, LABELS + 0.7), r"Label \d.7 is no class; give whole numbers"),
    ((IMAGES, LABELS * torch.nan), "Label nan is no class"),
    ((IMAGES, (LABELS + 1) / 0), "Label inf is no class"),
    ((IMAGES, LABELS > 3), "Labels are bool"),
    ((IMAGES, LABELS[:, None]), r"shape \[24, 1\]; give classes \(N,\): labels.flatten\(\)"),
    ((IMAGES, nn.functional.one_hot(LABELS)), r"of one-hot rows, labels.argmax\(1\)"),
    ((IMAGES, LABELS.to("meta")), "Labels are on the meta device"),
    ((IMAGES, [str(label) for label in LABELS]), "Labels cannot be a list of this kind"),
    ((IMAGES, LABELS[:-1]), r"24 images and 23 labels|\[24, 1, 8, 8\] and \[23\]"),
    ((IMAGES[:0], LABELS[:0]), r"no images in the data|\[0, 1, 8, 8\] and \[0\]"),
    ((IMAGES - 0.5, LABELS), "Pixels must lie in"),
    ((IMAGES / 0, LABELS), "not a number"),
    ((IMAGES > 0.5, LABELS), "Images are bool; give uint8, or floats"),
    ((list(IMAGES), LABELS), "Images cannot be a list"),
    ((IMAGES.to_sparse(), LABELS), "Images are a sparse tensor; give a plain"),
    ((IMAGES.to("meta"), LABELS), "Images are on the meta device"),
]


@pytest.mark.parametrize(("data", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_plain_call_and_an_evaluation_refuse_the_same(data, message):
    for attempt in (lambda: judge(robust_net(), data), lambda: pgd2(robust_net(), *data, "digits")):
        with pytest.raises(ZooError, match=message):
            attempt()


@pytest.mark.parametrize(
    ("name", "setting", "message"),
    [
        ("pgd3", {"steps": 2.5}, "steps of attack 'pgd3' must be a whole number"),
        ("pgd3", {"steps": True}, "must be a whole number"),
        ("pgd3", {"targeted": "no"}, "must be True or False and not 'no'"),
        ("pgd3", {"momentum": float("nan")}, "must be a finite number and not nan"),
        ("pgd3", {"loss": 3}, "Unknown loss '3'"),
        ("square", {"queries": "many"}, "queries of attack 'square' must be a whole number"),
    ],
)
def test_settings_of_another_kind_are_refused(name, setting, message):
    with pytest.raises(ZooError, match=message):
        evaluate(robust_net(), (IMAGES, LABELS), [get_attack(name, **setting)], "digits")
    assert get_attack("pgd3", momentum=None, restarts=2, early_exit=True).restarts == 2


@pytest.mark.parametrize(
    ("attacks", "options", "message"),
    [
        ("pgd2", {}, "Attacks come in a list"),
        ([None], {}, "None is no attack"),
        (["pgd2"], {"draws": 2.5}, "draws 2.5 is no int"),
        (["pgd2"], {"eot": True}, "eot True is no int"),
        (["pgd2"], {"threat_model": 8}, "The threat model is 8; give the name of a row"),
    ],
)
def test_what_is_asked_for_in_another_form_is_refused(attacks, options, message):
    options = {"threat_model": "digits", **options}
    with pytest.raises(ZooError, match=message):
        evaluate(robust_net(), (IMAGES, LABELS), attacks, **options)


def test_masked_pixels_are_refused():
    masked = np.ma.masked_greater(IMAGES.numpy(), 0.9)
    with pytest.raises(ZooError, match="Some pixels are masked; fill them"):
        judge(robust_net(), (masked, LABELS.numpy()))


@pytest.mark.parametrize("number", [True, 1.0, np.int64(1), -1])
def test_a_seed_is_an_int(number):
    for options in ({"seed": number}, {"batch_size": number}):
        with pytest.raises(ZooError, match=r"is no whole number|give int\(1\)|out of range"):
            judge(robust_net(), **options)


def test_reading_a_loader_leaves_the_generators_as_they_were():
    net = robust_net()
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    judge(net, DataLoader(TensorDataset(IMAGES, LABELS), 7), n=8)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("racl.digits", "The model is the text 'racl.digits'; give an nn.Module"),
        (nn.Linear, "The model is the class Linear; give an instance"),
        ({"weight": torch.zeros(1)}, "The model is a dict; give an nn.Module"),
        (robust_net().half(), "'0.weight' is float16; verdicts need float32"),
        (robust_net().bfloat16(), "'0.weight' is bfloat16"),
        (robust_net().to("meta"), "'0.weight' is on the meta device, without values; load its"),
        (Head(lambda logits: None), "it returned a NoneType"),
        (Head(lambda logits: ()), "it returned a tuple"),
        (Head(lambda logits: logits.argmax(1)), r"it returned a Tensor of shape \[16\]"),
        (Head(lambda logits: logits[:, :5]), "the model knows the 5 classes"),
        (Head(NoWayBack.apply), r"be differentiated: RuntimeError: no way back \(.*test_own_in"),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(9, 10)),
            r"images of shape \[\d+, 1, 8, 8\]: .*9x10",
        ),
        (Normalised(robust_net(), [0.0] * 3, [1.0] * 3), "3 numbers and the images have 1"),
    ],
)
def test_a_model_that_cannot_be_judged_is_refused(model, message):
    with pytest.raises(ZooError, match=message):
        judge(model)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((IMAGES[:0], LABELS[:0]), "There are no images"),
        (TensorDataset(IMAGES[:0], LABELS[:0]), "There are no images"),
        ([], "a list of 0, and no pair"),
        ((IMAGES, LABELS, LABELS), "a tuple of 3, and no pair"),
        ((IMAGES, LABELS[:-1]), "24 images and 23 labels"),
        ((IMAGES[:-1], LABELS), "23 images and 24 labels"),
        ((IMAGES, LABELS + 0.5), "5 is no class; give whole numbers"),
        ((IMAGES, nn.functional.one_hot(LABELS)), r"of one-hot rows, labels.argmax\(1\)"),
        ((IMAGES, LABELS > 3), "Labels are bool"),
        ((IMAGES, list("abc")), "Labels cannot be a list of this kind"),
        ((IMAGES[0], 3), r"Labels have shape \[\]"),
        ((IMAGES[0], LABELS[:1]), r"these are \[1, 8, 8\] and \[1\]"),
        ((IMAGES, LABELS + 1), "The data has label 10"),
        ((IMAGES, LABELS - 1), "The data has label -1"),
        ((IMAGES[..., :0], LABELS), "have no pixels"),
        ((IMAGES / 0, LABELS), "not a number"),
        ((IMAGES * 255, LABELS), "go from 0 to 255"),
        ((BYTES.long(), LABELS), "Images are int64; give uint8"),
        ((BYTES.numpy().astype(int), LABELS), "Images are int64; give uint8"),
        ((IMAGES.expand(-1, 3, -1, -1), LABELS), r"images of shape \[\d+, 3, 8, 8\]: .*1 channels"),
        ((np.zeros((2, 3, 8, 3)), [0, 0]), "both can be channels"),
        ((np.zeros((2, 8, 8, 8)), [0, 0]), "neither can be channels"),
        (([[0.5]], [0]), "Images cannot be a list"),
        ({"x": IMAGES, "y": LABELS}, "Data cannot be a dict; give a split"),
        ("digits", "Data cannot be a str"),
        (load_split("digits", "test"), "give the split alone"),
        (DataLoader(TensorDataset(IMAGES, LABELS), 7, shuffle=True), "with shuffle=False"),
        (DataLoader(TensorDataset(IMAGES, LABELS), 7, drop_last=True), "21 of 24 images"),
        (Items(lambda i: (IMAGES[i] * torch.rand(()), 0)), "take what is random out"),
        (Items(lambda i: {"image": IMAGES[i]}), r"let its items be \(image, label\)"),
        (Items(lambda i: (IMAGES[i, :, i % 2 :], 0)), "several shapes"),
        (Items(lambda i: 1 // 0), r"cannot be read: ZeroDivisionError: .*test_own_inputs.py, line"),
        (Items(lambda i: (Image.new("P", (8, 8)), 0)), "mode P; convert it"),
    ],
)
def test_data_that_cannot_be_judged_are_refused(data, message):
    with pytest.raises(ZooError, match=message):
        judge(robust_net(), data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n 0 is out of range"),
        ({"n": N + 1}, "n 25 is out of range; there are 24 images"),
        ({"n": 1.5}, "n 1.5 is no whole number"),
        ({"n": True}, "n True is no whole number"),
        ({"seed": 0.5}, "seed 0.5 is no whole number"),
        ({"batch_size": 2.5}, "batch size 2.5 is no whole number"),
        ({"surrogate": "racl"}, "The surrogate is the text 'racl'"),
    ],
)
def test_numbers_that_are_none_are_refused(options, message):
    with pytest.raises(ZooError, match=message):
        judge(robust_net(), **options)


def test_a_threat_model_of_ones_own():
    threat_model = ThreatModel.of("Linf", "8/255")
    assert (threat_model.name, threat_model.step.text) == ("custom", "2/255")
    assert ThreatModel.of("L1", 12).step.value == 3
    for norm, size, message in (
        ("Linf", 8, "write 8/255 rather than 8"),
        ("L7", 1, "norm 'L7'"),
        ("L2", 0, "must be above 0"),
    ):
        with pytest.raises(ZooError, match=message):
            ThreatModel.of(norm, size)
