"""RobNet's study: candidates shared by workers, none lost, none counted twice."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from optuna.trial import TrialState

from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.search.robnet.storage import open_study
from robnet_zoo.search.robnet.study import retry_failed, work

COUNT = 8
WORKER = """
import os, sys, time
from pathlib import Path
from robnet_zoo.search.robnet.storage import open_study
from robnet_zoo.search.robnet.study import work

folder, log, seconds = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])

def judge(number):
    with log.open("a") as file:
        file.write(f"began {number}\\n")
    time.sleep(seconds)
    with log.open("a") as file:
        file.write(f"ended {number}\\n")
    return {"number": number, "robust": number / 100}

study = open_study(folder, {"seed": 0}, patience=6)
rows = work(study, int(sys.argv[4]), judge, lambda *report: None)
print(len(rows))
"""


def start(folder: Path, log: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, str(folder), str(log), str(seconds), str(COUNT)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def events(log: Path, kind: str) -> list[int]:
    lines = log.read_text().splitlines() if log.exists() else []
    return [int(line.split()[1]) for line in lines if line.startswith(kind)]


@pytest.mark.slow
def test_a_killed_worker_loses_and_doubles_nothing(tmp_path: Path) -> None:
    folder, killed_log, other_log = tmp_path / "study", tmp_path / "killed", tmp_path / "other"
    killed = start(folder, killed_log, 600)  # both begin at once, on a database not yet there
    other = start(folder, other_log, 0.2)
    while not events(killed_log, "began"):
        assert killed.poll() is None
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    printed, _ = other.communicate(timeout=120)
    assert other.returncode == 0
    assert printed.strip() == str(COUNT)
    (lost,) = events(killed_log, "began")
    assert lost in events(other_log, "ended")
    assert Counter(events(other_log, "ended")) == Counter(range(COUNT))

    def none_left(number: int) -> dict[str, float]:
        raise AssertionError(f"candidate {number} is judged already")

    rows = work(open_study(folder, {"seed": 0}), COUNT, none_left, lambda *report: None)
    assert [row["number"] for row in rows] == list(range(COUNT))


def test_an_interrupted_candidate_is_taken_up_again(tmp_path: Path) -> None:
    study = open_study(tmp_path, {})
    tried = []

    def judge(number: int) -> dict[str, float]:
        tried.append(number)
        if tried == [0, 1]:
            raise KeyboardInterrupt
        return {"number": number, "robust": 0.5}

    with pytest.raises(KeyboardInterrupt):
        work(study, 3, judge, lambda *report: None)
    assert len(work(study, 3, judge, lambda *report: None)) == 3
    assert tried == [0, 1, 1, 2]


def test_a_candidate_that_fails_is_recorded_and_the_study_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = open_study(tmp_path, {})
    reports, broken = [], {1: "does not fit", 3: ""}

    def judge(number: int) -> dict[str, float]:
        if broken.get(number):
            raise RuntimeError(broken[number])
        return {"number": number, "robust": float("nan") if number in broken else 0.5}

    rows = work(study, 5, judge, lambda *report: reports.append(report))
    assert [row["number"] for row in rows] == [0, 2, 4]
    assert "Traceback" not in capsys.readouterr().err
    _, failed = reports[-1]
    assert failed[1].startswith("RuntimeError: does not fit")
    assert failed[3] == "its robust is nan"
    assert len(work(study, 5, judge, lambda *report: None)) == 3  # none is judged again
    broken.clear()
    retry_failed(study)
    assert len(work(study, 5, judge, lambda *report: None)) == 5


def test_a_worker_under_which_all_fails_ends_and_leaves_the_rest(tmp_path: Path) -> None:
    tried: list[int] = []

    def judge(number: int) -> dict[str, float]:
        tried.append(number)
        raise RuntimeError("no CUDA any more")

    for count, message in ((5, "3 candidates in a row .* no CUDA any more"), (3, "All 3 cand")):
        with pytest.raises(ZooError, match=message):
            work(open_study(tmp_path, {}), count, judge, lambda *report: None)
    assert tried == [0, 1, 2]


def test_a_candidate_at_which_workers_stop_does_not_stop_them_all(tmp_path: Path) -> None:
    study = open_study(tmp_path, {})
    tried = []

    def judge(number: int) -> dict[str, float]:
        tried.append(number)
        if number == 0:
            study.tell(len(tried) - 1, state=TrialState.FAIL)  # as after a lost heartbeat
        return {"number": number, "robust": 0.5}

    assert len(work(study, 2, judge, lambda *report: None)) == 1
    assert tried == [0, 0, 0, 1]


def test_a_worker_whose_trial_was_failed_goes_on(tmp_path: Path) -> None:
    study = open_study(tmp_path, {})
    tried = []

    def judge(number: int) -> dict[str, float]:
        tried.append(number)
        if len(tried) == 1:
            study.tell(0, state=TrialState.FAIL)  # as another worker would
        return {"number": number, "robust": 0.5}

    assert len(work(study, 2, judge, lambda *report: None)) == 2
    assert tried == [0, 0, 1]


def test_more_candidates_extend_a_study(tmp_path: Path) -> None:
    judged: list[int] = []

    def judge(number: int) -> dict[str, float]:
        judged.append(number)
        return {"number": number, "robust": 0.5}

    work(open_study(tmp_path, {}), 2, judge, lambda *report: None)
    rows = work(open_study(tmp_path, {}), 4, judge, lambda *report: None)
    assert judged == [0, 1, 2, 3]
    assert [row["number"] for row in rows] == [0, 1, 2, 3]


def test_other_settings_are_not_mixed_into_a_study(tmp_path: Path) -> None:
    open_study(tmp_path, {"seed": 0})
    with pytest.raises(ZooError, match="holds a study of another supernet or with other settings"):
        open_study(tmp_path, {"seed": 1})


def test_a_storage_that_cannot_be_reached_is_named(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="cannot be opened"):
        open_study(tmp_path, {}, url="nonsense")
