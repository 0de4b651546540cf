"""What the progress bar says is left is near what is left, and remembered work is no speed."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
from helpers.small_nets import DIGITS, digits, robust_net

from robnet_zoo.attacks import get_attack, pass_log
from robnet_zoo.eval import evaluate, evaluation
from robnet_zoo.runtime.console import Progress

SHORT = {"square": {"queries": 150}, "apgd-ce": {"steps": 10}}


class Watched(Progress):
    """A bar that notes what was done, without what was skipped, and what it said was left."""

    worked, stop = 0.0, None
    said = ()

    def advance(self, amount, note=""):
        super().advance(amount, note)
        self.worked += amount
        self.said = (*self.said, (self.worked, self.total - self.done))
        if self.stop is not None and self.worked > self.stop:
            raise KeyboardInterrupt


@pytest.fixture
def judge(monkeypatch):
    """Return a function that evaluates the small network and returns its bar."""

    def run(attacks, *, stop=None, **options):
        bars = []

        @contextmanager
        def shown(*arguments):
            bars.append(Watched(*arguments))
            bars[0].stop = stop
            yield bars[0]

        monkeypatch.setattr(evaluation, "progress", shown)
        try:
            evaluate(robust_net(), digits(48), attacks, DIGITS, quiet=False, **options)
        except KeyboardInterrupt:
            assert stop is not None
        return bars[0]

    return run


def short_autoattack():
    suite = get_attack("autoattack")
    parts = (replace(part, **SHORT.get(part.name, {"steps": 5})) for part in suite.parts)
    return replace(suite, parts=tuple(parts))


@pytest.mark.parametrize("attacks", [["pgd10", "fgsm"], [short_autoattack()]], ids=len)
def test_after_a_twentieth_what_is_left_is_known_within_a_factor_of_two(judge, attacks):
    bar = judge(attacks)
    worked, left = next(point for point in bar.said if point[0] >= 0.05 * bar.worked)
    assert 0.5 < left / (bar.worked - worked) < 2
    assert bar.done == pytest.approx(bar.total)
    assert all(left >= -1e-6 for _, left in bar.said)


def test_a_resumed_run_does_not_count_what_it_remembers(judge, tmp_path, monkeypatch):
    monkeypatch.setattr(pass_log, "SECONDS", 0.0)
    attacks = [get_attack("pgd10"), get_attack("apgd-t", steps=3)]
    whole = judge(attacks).worked
    begun = judge(attacks, out=tmp_path / "a.json", stop=0.6 * whole).worked
    resumed = judge(attacks, out=tmp_path / "a.json", resume=True)
    assert begun + resumed.worked == pytest.approx(whole, rel=0.1)
    assert resumed.done == pytest.approx(resumed.total)
