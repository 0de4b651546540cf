import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers.small_nets import DIGITS, digits, robust_net

from robnet_zoo.attacks import Attack
from robnet_zoo.eval import evaluate, get_attack, record
from robnet_zoo.runtime.errors import ZooError

TESTS = Path(__file__).parents[1]
ATTACKS = ["pgd20", "fgsm", get_attack("apgd-ce", steps=10), get_attack("square", queries=150)]


def run(out, resume=False):
    """Evaluate all 450 images: every attack takes two blocks."""
    return evaluate(robust_net(), digits(450), ATTACKS, DIGITS, seed=3, out=out, resume=resume)


def start(*command):
    """Run this file in a process of its own, with our threads."""
    path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    threads = str(torch.get_num_threads())
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": threads}
    return subprocess.Popen([sys.executable, *command], env=environment)


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
    process = start(__file__, str(out))
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
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    process = start(*launcher, __file__, str(out))
    assert process.wait(timeout=300) == 0
    assert findings(record.read(out)) == whole


def test_a_finished_record_is_returned_and_not_made_again(tmp_path):
    out = tmp_path / "a.json"
    first = evaluate(robust_net(), digits(20), ["fgsm"], DIGITS, out=out)
    again = evaluate(robust_net(), digits(20), ["fgsm"], DIGITS, out=out, resume=True)
    assert again == first


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"attacks": ["pgd3"]}, "attacks"),
        ({"seed": 1}, "seed"),
        ({"data": digits(21)}, "data"),
        ({"threat_model": DIGITS.at("0.1")}, "attacks and threat model"),
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
    with pytest.raises(ZooError, match=f"made with another {named};"):
        evaluate(**{**given, **change}, resume=True)
    assert evaluate(**{**given, **change}).data.n in (20, 21)  # without resume it starts over


def interrupt(given):
    """Stop an evaluation after its first attack."""

    class Stop(Attack):
        def run(self, model, batch, threat_model):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(**{**given, "attacks": [*given["attacks"], Stop(name="stop")]})
    parts = given["out"].with_name(given["out"].name + ".parts")
    identity = json.loads((parts / "evaluation.json").read_text())
    del identity["attacks"]["stop"]
    (parts / "evaluation.json").write_text(json.dumps(identity))


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


if __name__ == "__main__":
    run(sys.argv[1])
