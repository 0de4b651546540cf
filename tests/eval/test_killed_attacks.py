"""Attacks stopped in the middle of a block go on where they were, to the same verdicts."""

import json

import pytest
import torch
from helpers.small_nets import DIGITS, digits, robust_net
from torch import nn

from robnet_zoo.attacks import pass_log
from robnet_zoo.attacks.model import AttackedModel
from robnet_zoo.attacks.pass_log import PassLog
from robnet_zoo.eval import evaluate, get_attack


class Killed(BaseException):
    """Stands for the end of the process: nothing is tidied up behind it."""


class Counted(nn.Module):
    """Counts its passes, draws noise where asked to, and dies where it is told to."""

    def __init__(self, noise=0.0):
        super().__init__()
        self.net, self.noise, self.passes, self.last = robust_net(), noise, 0, None

    def forward(self, images):
        if self.passes == self.last:
            raise Killed
        self.passes += 1
        if self.noise:
            images = images + self.noise * torch.randn_like(images)
        return self.net(images)


@pytest.fixture(autouse=True)
def always_written(monkeypatch):
    """Write after every pass."""
    monkeypatch.setattr(pass_log, "SECONDS", 0.0)


def attacks(names):
    sizes = {"apgd-t": {"steps": 6}, "fab-t": {"steps": 4}, "square": {"queries": 60}}
    return [get_attack(name, **sizes.get(name, {})) for name in names]


def timeless(report):
    plain = json.loads(json.dumps(report.to_dict()))

    def without(value):
        if isinstance(value, dict):
            left_out = ("seconds", "created", "environment")
            return {k: without(v) for k, v in value.items() if k not in left_out}
        return [without(each) for each in value] if isinstance(value, list) else value

    return without(plain)


@pytest.mark.parametrize(
    ("names", "size", "noise", "options"),
    [
        (["pgd3", "apgd-t", "fab-t", "square"], ("0.15", "Linf"), 0.0, {}),
        (["apgd-t", "square"], ("1/2", "L2"), 0.02, {}),
        (["pgd15"], ("0.15", "Linf"), 0.02, {"eot": 2, "draws": 2}),
    ],
)
def test_killed_anywhere_it_ends_in_the_same_record(tmp_path, names, size, noise, options):
    threat, model = DIGITS.at(*size), Counted(noise)

    def run(out, resume=False):
        return evaluate(
            model, digits(16), attacks(names), threat, out=out, resume=resume, **options
        )

    evaluate(model, digits(16), ["fgsm"], threat, **options)
    start, model.passes = model.passes, 0  # of each run: clean images, checks, a first attack
    whole = timeless(run(None))
    once, model.passes = model.passes, 0
    out, kills = tmp_path / "a.json", 0
    for more in [60, 7, 95, 31] * 20:
        model.last = model.passes + start + more
        try:
            report = run(out, resume=True)
            break
        except Killed:
            kills += 1
    assert kills
    assert timeless(report) == whole
    # what was done is not done again, but for a gradient that was not written any more
    assert model.passes <= once + kills * (start + 10)
    assert not out.with_name("a.json.parts").exists()


def test_a_finished_step_takes_the_place_of_its_passes(tmp_path):
    model = Counted()
    given = (model, digits(24), attacks(["apgd-t"]), DIGITS)
    report = evaluate(*given)
    model.last = 2 * model.passes - 5  # all but the last steps
    with pytest.raises(Killed):
        evaluate(*given, out=tmp_path / "a.json")
    pieces = list((tmp_path / "a.json.parts").glob("apgd-t.00000.passes.*"))
    assert 0 < len(pieces) < report.passes("apgd-t").forwards / 2


class TestLog:
    images = digits(16)[0]

    def ask(self, folder, images, model=None, scale=1.0):
        """Return logits and gradients for images, by a log in a folder."""
        model = Counted() if model is None else model
        asked = AttackedModel(model, 16, log=PassLog(folder, "a"))
        leaf = images.clone().requires_grad_()
        logits = asked(leaf)
        (gradient,) = torch.autograd.grad(scale * logits[:, 0].sum(), leaf)
        assert (asked.forwards, asked.backwards) == (16, 16)
        return logits.detach(), gradient

    def test_the_same_question_is_answered_without_the_model(self, tmp_path):
        first, model = self.ask(tmp_path, self.images), Counted()
        again = self.ask(tmp_path, self.images, model)
        assert model.passes == 0
        assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))

    def test_another_question_is_answered_by_the_model(self, tmp_path):
        self.ask(tmp_path, self.images)
        moved, model = self.images.clone(), Counted()
        moved[3, 0, 2, 2] += 1e-7
        logits, gradient = self.ask(tmp_path, moved, model)
        assert model.passes == 1
        leaf = moved.clone().requires_grad_()
        expected = robust_net()(leaf)
        assert torch.equal(logits, expected)
        assert torch.equal(gradient, torch.autograd.grad(expected[:, 0].sum(), leaf)[0])
        model.passes = 0  # the log has begun anew
        assert torch.equal(self.ask(tmp_path, moved, model)[0], logits)
        assert model.passes == 0

    def test_another_loss_has_another_gradient(self, tmp_path):
        _, first = self.ask(tmp_path, self.images)
        _, twice = self.ask(tmp_path, self.images, scale=2.0)
        torch.testing.assert_close(twice, 2 * first)

    def test_what_grows_too_fast_is_not_kept(self, tmp_path, monkeypatch):
        monkeypatch.setattr(pass_log, "MEMORY", 100)
        self.ask(tmp_path, self.images)
        assert not list(tmp_path.iterdir())

    def test_a_damaged_piece_ends_the_log(self, tmp_path):
        self.ask(tmp_path, self.images)
        last = max(tmp_path.iterdir())
        last.write_bytes(last.read_bytes()[:40])
        model = Counted()
        self.ask(tmp_path, self.images, model)
        assert model.passes == 1  # for the gradient
