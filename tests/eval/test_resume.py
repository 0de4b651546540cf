import json
import os
import shutil
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from helpers.processes import Program, run_joined
from helpers.small_nets import DIGITS, digits, robust_net
from torch import nn

from robnet_zoo.attacks import Attack, Suite, pass_log
from robnet_zoo.eval import evaluate, evaluation, get_attack, record
from robnet_zoo.runtime.console import progress
from robnet_zoo.runtime.errors import ZooError

ATTACKS = ["pgd20", "fgsm", get_attack("apgd-ce", steps=10), get_attack("square", queries=150)]


class Scaled(nn.Module):
    """The same parameters, other logits."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, images):
        return 0.9 * self.net(images)

    def state_dict(self, *args, **kwargs):
        return self.net.state_dict(*args, **kwargs)


class HalfDetached(Scaled):
    """The same parameters and logits, other gradients."""

    def forward(self, images):
        return self.net(torch.cat([images[:, :, :4], images[:, :, 4:].detach()], 2))


def disturbed(net):
    with torch.no_grad():
        next(net.parameters()).mul_(1.1)
    return net


def run(out, **options):
    """Evaluate all 450 images: every attack takes two blocks."""
    return evaluate(robust_net(), digits(450), ATTACKS, DIGITS, seed=3, out=out, **options)


def program(out):
    """Return the command that runs this file, and its environment, with our threads."""
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    return [__file__, str(out)], os.environ | threads


def findings(report):
    """Return a report without what differs from run to run: times and the machine's state."""

    def timeless(value):
        if isinstance(value, dict):
            return {k: timeless(v) for k, v in value.items() if k != "seconds"}
        return [timeless(one) for one in value] if isinstance(value, list) else value

    found = timeless(report.to_dict())
    del found["created"], found["environment"]
    return found


@pytest.fixture(scope="module")
def whole():
    return findings(run(None))


def test_a_killed_evaluation_resumes_to_the_same_record(whole, tmp_path):
    out, parts = tmp_path / "a.json", tmp_path / "a.json.parts"
    command, environment = program(out)
    process = Program(command, env=environment)
    while len(list(parts.glob("*.0*.json"))) < 5:
        assert process.poll() is None, "finished before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    copy = shutil.copytree(parts, tmp_path / "copy.json.parts")
    assert findings(run(out, resume=True)) == whole
    assert findings(record.read(out)) == whole
    assert not parts.exists()
    block = copy / "pgd20.00000.json"  # stored blocks are believed, so none is done again
    stored = json.loads(block.read_text())
    block.write_text(json.dumps(stored | {"robust": [False] * len(stored["robust"])}))
    again = run(tmp_path / "copy.json", resume=True)
    assert again.attack("pgd20").robust.correct < whole["attacks"][0]["robust"]["correct"]


@pytest.mark.slow
def test_two_processes_find_what_one_finds(whole, tmp_path):
    out = tmp_path / "a.json"
    command, environment = program(out)
    ended = run_joined(2, command, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert findings(record.read(out)) == whole
    done, total = map(float, out.with_suffix(".bar").read_text().split())
    assert done == pytest.approx(total)  # though the first process has the larger block


def judge(out, *attacks, net=None, **options):
    net = robust_net() if net is None else net
    return evaluate(net, digits(20), attacks, DIGITS, out=out, **options)


def test_a_finished_record_is_returned_and_not_made_again(tmp_path):
    out = tmp_path / "a.json"
    first = judge(out, "fgsm", "pgd2")
    before = out.read_bytes()
    assert judge(out, "fgsm", "pgd2") == first
    assert judge(out, "pgd2", resume=True) == first
    assert judge(out, "pgd2") == first
    assert out.read_bytes() == before


def test_an_attack_is_added_to_a_finished_record(tmp_path):
    out = tmp_path / "a.json"
    first = judge(out, "fgsm", "pgd2")
    with pytest.raises(ZooError, match=r"finished, without pgd3: .*--resume, name another"):
        judge(out, "pgd2", "pgd3")
    added = judge(out, "pgd3", "fgsm", resume=True)
    at_once = judge(None, "fgsm", "pgd2", "pgd3")
    assert added.attacks[:2] == first.attacks
    assert (added.created, added.clean) == (first.created, first.clean)
    assert added.added[0].attacks == ("pgd3",)
    without = {"added": None, "checks": None}
    assert findings(added) | without == findings(at_once) | without
    assert {check.name: check.verdict for check in added.checks} == {
        check.name: check.verdict for check in at_once.checks
    }
    assert record.read(out) == added
    assert not out.with_name("a.json.parts").exists()


def test_adding_an_attack_goes_on_where_it_was_killed(tmp_path):
    out = tmp_path / "a.json"
    first = judge(out, "fgsm")
    interrupt({"model": robust_net(), "data": digits(20), "attacks": ["pgd2"], "out": out,
               "threat_model": DIGITS, "resume": True})  # fmt: skip
    block = out.with_name("a.json.parts") / "pgd2.00000.json"
    stored = json.loads(block.read_text())
    block.write_text(json.dumps(stored | {"robust": [False] * len(stored["robust"])}))
    assert record.read(out) == first
    assert judge(out, "pgd2", resume=True).attack("pgd2").robust.correct == 0


def test_a_record_from_before_fingerprints_is_added_to_with_a_warning(tmp_path):
    out = tmp_path / "a.json"
    made = judge(out, "fgsm")
    stored = json.loads(out.read_text())
    del stored["model"]["fingerprint"]
    out.write_text(json.dumps(stored))
    assert any("was not compared" in text for text in judge(out, "fgsm").warnings)
    added = judge(out, "pgd2", resume=True)
    assert any("was not compared" in text for text in added.warnings)
    assert added.model == made.model
    with pytest.raises(ZooError, match="made with another model"):
        judge(out, "fgsm", net=disturbed(robust_net()))


def test_another_file_is_not_overwritten(tmp_path):
    out = tmp_path / "a.json"
    out.write_text('{"schema": "other/1"}')
    with pytest.raises(ZooError, match=r"not an evaluation record.*not overwritten"):
        judge(out, "fgsm")
    assert out.read_text() == '{"schema": "other/1"}'


class Drawing(nn.Module):
    """Adds noise of its own to the image."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, images):
        return self.net(images + 0.1 * torch.randn_like(images))


def test_a_randomised_model_is_known_again(tmp_path):
    first = judge(tmp_path / "a.json", "fgsm", net=Drawing(robust_net()))
    assert judge(tmp_path / "a.json", "fgsm", net=Drawing(robust_net())) == first


@pytest.mark.parametrize("wrapper", [Scaled, HalfDetached])
def test_a_surrogate_is_known_by_its_function(tmp_path, wrapper):
    out = tmp_path / "a.json"
    judge(out, "fgsm", surrogate=disturbed(robust_net()))
    assert judge(out, "fgsm", surrogate=disturbed(robust_net())).settings.surrogate.fingerprint
    with pytest.raises(ZooError, match="made with another surrogate or draws"):
        judge(out, "fgsm", surrogate=wrapper(disturbed(robust_net())))


def test_passes_are_counted_for_each_attacked_image():
    few = get_attack("square", queries=20)
    suite = Suite(name="suite", parts=(get_attack("pgd2"), few))
    made = evaluate(robust_net(), digits(30), ["fgsm", few, suite], DIGITS)
    attacked = made.clean.accuracy.correct
    assert attacked < 30
    fgsm, square, both = made.attacks
    assert [attack.passes for attack in made.attacks] == [made.passes(n) for n in made.attack_names]
    assert 2 <= fgsm.passes.forwards < 4  # the start, the iterate, and what confirms a verdict
    assert (fgsm.passes.backwards, square.passes.backwards) == (1, 0)
    assert 3 < square.passes.forwards <= 23
    assert both.parts[1].attacked < attacked
    assert both.parts[1].passes.forwards > both.parts[1].forwards / attacked
    assert both.passes.forwards > square.passes.forwards


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"attacks": [get_attack("pgd2", restarts=2)]}, "attacks"),
        ({"seed": 1}, "seed"),
        ({"data": digits(21)}, "data"),
        ({"threat_model": DIGITS.at("0.1")}, "attacks and threat model"),
        ({"model": disturbed(robust_net())}, "model"),
        ({"model": Scaled(robust_net())}, "function"),
        ({"model": HalfDetached(robust_net())}, "function"),
    ],
)
def test_blocks_of_another_evaluation_are_refused(tmp_path, change, named, finished):
    out = tmp_path / "a.json"
    given = {
        "model": robust_net(),
        "data": digits(20),
        "attacks": ["pgd2"],
        "threat_model": DIGITS,
        "out": out,
    }
    if finished:
        evaluate(**given)
    else:
        interrupt(given)
    with pytest.raises(ZooError, match=f"made with another {named}[; ]"):
        evaluate(**{**given, **change}, resume=True)
    if finished:
        before = out.read_bytes()
        with pytest.raises(ZooError, match=f"made with another {named}[; ].*another --out, or del"):
            evaluate(**{**given, **change})
        assert out.read_bytes() == before
    else:  # without resume it starts over
        assert evaluate(**{**given, **change}).data.n in (20, 21)


def interrupt(given):
    """Stop an evaluation after its first attack."""

    class Stop(Attack):
        def run(self, model, batch, threat_model):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(**{**given, "attacks": [*given["attacks"], Stop(name="stop")]})


def test_a_damaged_block_is_named(tmp_path):
    out = tmp_path / "a.json"
    given = {"model": robust_net(), "data": digits(20), "attacks": ["pgd2"], "out": out}
    interrupt({**given, "threat_model": DIGITS})
    block = tmp_path / "a.json.parts" / "pgd2.00000.json"
    block.write_text(block.read_text()[:50])
    with pytest.raises(ZooError, match=r"pgd2\.00000\.json.*delete it and resume"):
        evaluate(**given, threat_model=DIGITS, resume=True)


def test_a_place_that_cannot_be_written_is_refused_before_work(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ZooError, match="Cannot write"):
        evaluate(robust_net(), digits(20), ["fgsm"], DIGITS, out=tmp_path / "file" / "a.json")


def main(out):
    """Evaluate, and note how far the progress bar went."""
    pass_log.SECONDS = 0.0  # so that the block under way has a log when the process is killed
    bars = []

    @contextmanager
    def shown(*arguments):
        with progress(*arguments) as bar:
            bars.append(bar)
            yield bar

    evaluation.progress = shown
    run(out, resume=False, quiet=False)
    for bar in bars:
        Path(out).with_suffix(".bar").write_text(f"{bar.done} {bar.total}")


if __name__ == "__main__":
    main(sys.argv[1])
