"""Every pitfall is planted in a network that is honest without it, and caught by name."""

import copy
import weakref

import pytest
import torch
from helpers.fitted import save_fitted
from helpers.planted import Planted, through
from helpers.small_nets import DIGITS, digits, natural_net, robust_net
from torch import nn
from torch.nn import functional as F

from robnet_zoo.attacks.registry import get_attack as get
from robnet_zoo.eval import record
from robnet_zoo.eval.__main__ import main
from robnet_zoo.eval.checks import (
    Card,
    StateBefore,
    check,
    check_model,
    check_state,
    checks_table,
    fingerprint,
    registry,
)
from robnet_zoo.eval.evaluation import evaluate
from robnet_zoo.eval.inputs import RunMetadata
from robnet_zoo.runtime.errors import ZooError

# ---- of the model


NETS = {"adversarial": robust_net, "natural": natural_net}


class Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, images):
        return images.clone()

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


def defended(images, planted):
    with torch.enable_grad():
        leaf = images.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(planted.net(leaf).logsumexp(1).sum(), leaf)
    return images + 0.02 * gradient.sign()


def unguarded_norm(images, planted):
    blank = images[:, :, :1] - images[:, :, :1]
    return images + blank.square().sum((1, 2, 3), keepdim=True).sqrt()


BEFORE = {
    "a random layer": (lambda x, m: x + 0.1 * torch.randn_like(x), "deterministic"),
    "dropout": (lambda x, m: F.dropout(x, 0.1, training=True), "deterministic"),
    "batch statistics": (
        lambda x, m: F.batch_norm(x, None, None, training=True),
        "batch-independent",
    ),
    "a defence that descends": (defended, "plain-forward"),
    "detached pixels": (lambda x, m: x.detach(), "gradient-path"),
    "rounded pixels": (lambda x, m: (x * 7).round() / 7, "input-gradients"),
    "a root of 0": (unguarded_norm, "input-gradients"),
    "thresholds": (lambda x, m: torch.sigmoid(5000 * (x - 0.53)), "input-gradients"),
    "bytes, straight through": (lambda x, m: through(x, 255), "true-gradient"),
    "eight levels, straight through": (lambda x, m: through(x, 7), "true-gradient"),
    "a reversed gradient": (lambda x, m: Reversed.apply(x), "true-gradient"),
    "ripples": (lambda x, m: x + 0.05 * torch.sin(3000 * x), "beats-noise"),
    "a reversed gradient, for PGD": (lambda x, m: Reversed.apply(x), "loss-rises"),
    "waves": (lambda x, m: x + 0.05 * torch.sin(400 * x), "unbounded-attack"),
}
BEHIND = {
    "probabilities": (lambda z: z.softmax(1), "logits"),
    "bfloat16": (lambda z: z.bfloat16(), "logits"),
    "NaN": (lambda z: z + torch.where(z > 5, torch.nan, 0.0), "logits"),
    "a saturated softmax": (lambda z: 100 * z, "input-gradients"),
    "rounded logits": (lambda z: through(z, 1), "true-gradient"),
}


def checks_of(model, threat_model=DIGITS, images=None, **settings):
    own, labels = digits(64)
    found = check_model(model, own if images is None else images, labels, threat_model, **settings)
    return {check.name: check for check in found}


def failed(checks):
    return [name for name, check in checks.items() if not check.passed]


@pytest.mark.parametrize("threat_model", [DIGITS, DIGITS.at("0.05"), DIGITS.at("1.0", "L2")])
@pytest.mark.parametrize("net", NETS)
def test_an_honest_network_passes_every_check(net, threat_model):
    checks = checks_of(NETS[net](), threat_model)
    assert not failed(checks)
    asked = {name for name, check in checks.items() if check.verdict == "passed"}
    assert {"true-gradient", "beats-noise", "unbounded-attack"} < asked


@pytest.mark.parametrize("behind", [lambda z: 3 * z, lambda z: z.log_softmax(1), lambda z: z - 50])
def test_harmless_logits_raise_no_alarm(behind):
    assert not failed(checks_of(Planted(natural_net(), behind=behind)))


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("pitfall", BEFORE)
def test_pitfalls_before_the_network_are_caught(pitfall, net):
    before, name = BEFORE[pitfall]
    check = checks_of(Planted(NETS[net](), before))[name]
    assert not check.passed
    assert ": " in check.detail
    assert check.detail.endswith(".")


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("pitfall", BEHIND)
def test_pitfalls_behind_the_network_are_caught(pitfall, net):
    behind, name = BEHIND[pitfall]
    assert name in failed(checks_of(Planted(NETS[net](), behind=behind)))


def test_a_saturated_softmax_is_told_from_a_flat_step():
    saturated = checks_of(Planted(robust_net(), behind=lambda z: 100 * z))["input-gradients"]
    flat = checks_of(Planted(robust_net(), BEFORE["rounded pixels"][0]))["input-gradients"]
    assert "trust attacks on the margin" in saturated.detail
    assert "a step in the model is flat" in flat.detail


def test_no_gradient_checks_follow_where_there_are_none():
    class Closed(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = robust_net()

        @torch.no_grad()
        def forward(self, images):
            return self.net(images)

    checks = checks_of(Closed().eval())
    assert failed(checks) == ["gradient-path"]
    assert checks["true-gradient"].verdict == checks["unbounded-attack"].verdict == "skipped"
    assert "'gradient-path' failed" in checks["unbounded-attack"].detail


def test_modules_left_in_train_mode_are_named():
    net = robust_net()
    assert not failed(checks_of(net.train()))  # the harness puts the whole into eval mode
    net.eval()[1].train()
    check = checks_of(net)["eval-mode"]
    assert not check.passed
    assert "1 modules are in train mode by themselves (1)" in check.detail


def test_a_forward_pass_that_leaves_eval_mode_is_caught():
    model = Planted(robust_net(), lambda x, planted: planted.net[1].train() and x)
    assert "eval-mode" in failed(checks_of(model))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: 255 * x, "divide them by 255"),
        (lambda x: (x - 0.5) / 0.3, "normalise inside the model"),
        (lambda x: x / 255, "divided by 255 twice"),
        (lambda x: torch.full_like(x, 0.5), "these are no images"),
        (lambda x: x / 0, "not finite"),
    ],
)
def test_pixels_that_are_none_are_caught(change, said):
    checks = checks_of(robust_net(), images=change(digits(64)[0]))
    assert "pixels" in failed(checks)
    assert said in checks["pixels"].detail


def test_a_network_that_knows_one_class_is_not_called_masked():
    constant = Planted(robust_net(), behind=lambda z: 0.1 * z + 10 * F.one_hot(torch.tensor(3), 10))
    checks = checks_of(constant)
    assert not failed(checks)
    assert checks["unbounded-attack"].verdict == "skipped"


def test_labels_that_no_logit_stands_for_are_refused():
    images, labels = digits(8)
    with pytest.raises(ZooError, match="data has label 1"):
        check_model(robust_net(), images, labels + 12 * (labels == labels[0]), DIGITS)


def test_checks_leave_everything_as_it_was():
    model = Planted(robust_net(), BEFORE["dropout"][0])
    model.net[1].train()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    first = checks_of(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(one.grad is None and one.requires_grad for one in model.parameters())
    assert [part.training for part in (model, model.net[0], model.net[1])] == [False, False, True]
    assert checks_of(model) == first


class Token:
    """Lives as long as the graph that it is put into."""


def test_checks_hold_the_graph_of_one_pass_at_a_time():
    """Two would take twice the memory of the attack itself."""
    net, graphs, most = robust_net(), [], 0

    def count(module, inputs, logits):
        nonlocal most
        if logits.requires_grad:
            token = logits.grad_fn.metadata["token"] = Token()
            graphs.append(weakref.ref(token))
            most = max(most, sum(graph() is not None for graph in graphs))

    net.register_forward_hook(count)
    checks_of(net)
    assert len(graphs) > 5
    assert most == 1


def test_a_small_batch_size_changes_no_verdict():
    for model in (robust_net(), Planted(robust_net(), BEFORE["bytes, straight through"][0])):
        assert failed(checks_of(model, batch_size=16)) == failed(checks_of(model))


@pytest.mark.parametrize("n", [1, 3, 20])
def test_few_images_are_enough(n):
    images, labels = digits(n)
    assert all(check.passed for check in check_model(robust_net(), images, labels, DIGITS))


def test_a_model_that_writes_to_itself_is_caught():
    model = robust_net()
    before = StateBefore(model=model, fingerprint=fingerprint(model))
    assert [check.verdict for check in check_state(before)] == ["passed", "skipped"]
    model[1].running_mean += 1
    unchanged, _ = check_state(before)
    assert not unchanged.passed
    assert "1 tensors of the model (1.running_mean)" in unchanged.detail


# ---- of an evaluation


def judge(model, attacks, **settings):
    return evaluate(model, digits(48), attacks, DIGITS, **settings)


def test_an_evaluation_shows_its_checks_in_the_record(tmp_path):
    report = judge(robust_net(), ["fgsm", "pgd20"], out=tmp_path / "record.json")
    names = [check.name for check in report.checks]
    assert {"eval-mode", "unbounded-attack", "unchanged", "worst-case", "more-steps"} < set(names)
    assert len(names) == len(set(names))
    assert [check.name for check in report.checks if not check.passed] == []
    assert record.read(tmp_path / "record.json").checks == report.checks


def test_an_evaluation_catches_a_masked_gradient():
    model = Planted(natural_net(), BEFORE["ripples"][0])
    report = judge(model, [get("pgd20"), get("square", queries=200)])
    assert "beats-noise" in [check.name for check in report.checks if not check.passed]


def test_an_evaluation_catches_a_model_that_counts_its_images():
    net = robust_net()
    net.register_buffer("seen", torch.zeros(()))

    def count(images, planted):
        planted.net.seen += len(images)
        return images

    report = judge(Planted(net, count), ["pgd20"])
    assert [one.name for one in report.checks if not one.passed] == ["unchanged"]


@pytest.fixture
def own_registry(monkeypatch):
    monkeypatch.setattr(registry, "_CHECKS", dict(registry._CHECKS))


@pytest.mark.usefixtures("own_registry")
def test_checks_from_outside_run_in_an_evaluation(tmp_path):
    @check("grey", kind="model", catches="colour", fails_if="there are three channels")
    def check_grey(given):
        return given.images.shape[1] == 1, "The images are grey", "use another model"

    @check("brittle", kind="results", catches="luck", fails_if="anything breaks", needs=("card",))
    def check_brittle(results):
        raise AssertionError("the card was not checked")

    @check("perfect", kind="results", catches="mistakes", fails_if="an image is broken")
    def check_perfect(results):
        broken = results.record.data.n - results.record.totals.robust.correct
        return not broken, f"{broken} images are broken", "train longer"

    judge(robust_net(), ["fgsm"], out=tmp_path / "record.json")
    checks = {check.name: check for check in record.read(tmp_path / "record.json").checks}
    names = list(checks)
    assert names[names.index("unchanged") - 1] == "grey"
    assert names[-2:] == ["brittle", "perfect"]
    assert checks["grey"].passed
    assert checks["perfect"].detail.endswith(" images are broken: train longer.")
    assert checks["brittle"].verdict == "skipped"
    assert checks["brittle"].detail == "It says nothing where 'card' had nothing to look at."
    assert "| `perfect` | mistakes | an image is broken |" in checks_table("results")


@pytest.mark.usefixtures("own_registry")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "card"}, "a check 'card' already"),
        ({"kind": "weights"}, "Unknown kind of check 'weights'"),
        ({"needs": ("logit",)}, "Unknown results check 'logit'"),
    ],
)
def test_checks_that_cannot_be_registered_are_refused(change, said):
    given = {"name": "new", "kind": "results", "catches": "", "fails_if": "", **change}
    with pytest.raises(ZooError, match=said):
        check(given.pop("name"), **given)


def test_attacks_without_gradients_to_follow_are_refused():
    model = Planted(robust_net(), BEFORE["detached pixels"][0])
    with pytest.raises(ZooError, match="Attack 'pgd20' needs gradients"):
        judge(model, ["pgd20"])
    report = judge(model, [get("square", queries=20)])
    assert [check.name for check in report.failed_checks] == ["gradient-path", "strong-attack"]


def test_the_card_is_compared_in_an_evaluation():
    card = Card(data="digits", split="test", n=48, accuracy=0.5)
    report = judge(
        robust_net(), ["pgd20"], metadata=RunMetadata(data="digits", split="test", card=card)
    )
    assert [one.name for one in report.checks if not one.passed] == ["card"]


def test_one_step_is_not_to_be_quoted_and_the_terminal_says_so(tmp_path, capsys):
    save_fitted(tmp_path / "racl.digits", n=450)
    model = f"local-dir:{tmp_path / 'racl.digits'}"
    asked = ["--model", model, "--attack", "pgd1-targeted", "--n", "48", "--eps", "0.001"]
    assert main([*asked, "--out", str(tmp_path / "record.json"), "--strict"]) == 3
    said = " ".join(capsys.readouterr().out.split())
    assert "check failed: strong-attack: No attack of the run is strong (pgd1-targeted aims" in said
    assert "check failed: epsilon: Epsilon 0.001 (Linf) is less than one grey level" in said
    assert ", 2 failed, " in said
    assert "had nothing to look at (" in said


def test_strict_turns_a_failed_check_into_exit_code_3(tmp_path, capsys):
    save_fitted(tmp_path / "racl.digits", n=450, clean={"accuracy": 0.123})
    model = f"local-dir:{tmp_path / 'racl.digits'}"
    asked = ["--model", model, "--attack", "pgd20", "--n", "100"]
    asked += ["--out", str(tmp_path / "record.json")]
    assert main(asked) == 0
    assert main([*asked, "--strict"]) == 3
    other = ["--split", "validation", "--out", str(tmp_path / "other.json")]
    assert main([*asked, "--strict", *other]) == 0  # not worse than the card
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("check failed: card: Clean accuracy is") == 2
    assert "passed" in said
