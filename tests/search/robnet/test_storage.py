"""Where the workers of a study meet: servers, journals, and what is said of them."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import optuna
import pytest
from helpers.postgres import PASSWORD, server
from optuna.trial import TrialState
from sqlalchemy import create_engine, text

from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.search.robnet.journal import Journal
from robnet_zoo.search.robnet.storage import copy_studies, open_storage, open_study
from robnet_zoo.search.robnet.storage_url import shown, storage_error, storage_errors
from robnet_zoo.search.robnet.study import tally, work

WORKERS, COUNT = 6, 8
MEETING = """
import multiprocessing, os, sys, time
from pathlib import Path
from robnet_zoo.search.robnet.storage import open_storage, open_study
from robnet_zoo.search.robnet.study import work

url, log, workers, count = sys.argv[1] or None, Path(sys.argv[2]), *map(int, sys.argv[3:])
start = multiprocessing.Barrier(workers)
open_storage("sqlite://")  # imports what the workers then share

def judge(number):
    with log.open("a") as file:
        file.write(f"{number}\\n")
    if number == 3:
        raise ValueError("it is odd")
    time.sleep(0.02)
    return {"number": number, "robust": number / 100}

def worker():
    start.wait()  # all meet at the empty storage
    study = open_study(log.parent, {"seed": 0}, url=url, patience=60)
    rows = work(study, count, judge, lambda *report: None)
    assert len(rows) == count - 1

others = [multiprocessing.Process(target=worker) for _ in range(workers)]
for other in others:
    other.start()
for other in others:
    other.join()
print([other.exitcode for other in others])
"""


def judged(number: int) -> dict[str, float]:
    return {"number": number, "robust": 0.5}


def ignore(*report: object) -> None:
    pass


@pytest.fixture(scope="module")
def postgres():
    with server() as url:
        yield url


def meet(url: str | None, folder: Path) -> None:
    """Let six workers judge eight candidates, of which number 3 fails."""
    log = folder / "log"
    command = [sys.executable, "-c", MEETING, url or "", str(log), str(WORKERS), str(COUNT)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.stdout.strip() == str([0] * WORKERS), done.stderr
    assert Counter(map(int, log.read_text().split())) == Counter(range(COUNT))
    assert "Traceback" not in done.stderr
    failed = tally(open_study(folder, {"seed": 0}, url=url), COUNT).failed
    assert failed.keys() == {3} and "it is odd" in failed[3]


def test_six_workers_meet_at_an_empty_server(postgres: str, tmp_path: Path) -> None:
    meet(postgres, tmp_path)


def test_six_workers_meet_in_an_empty_journal_or_folder(tmp_path: Path) -> None:
    for name, url in (("journal", f"journal:{tmp_path / 'study.log'}"), ("folder", None)):
        (tmp_path / name).mkdir()
        meet(url, tmp_path / name)


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_a_study_moves_from_its_folder_to_a_server(postgres: str, tmp_path: Path) -> None:
    settings = {"seed": "moved"}
    old = open_study(tmp_path, settings)
    work(old, 2, judged, ignore)
    old.ask().set_user_attr("candidate", 2)  # a worker that was killed
    source = f"sqlite:///{tmp_path / 'study.db'}"
    assert copy_studies(source, postgres) == 1
    tried = []

    def judge(number: int) -> dict[str, float]:
        tried.append(number)
        return judged(number)

    rows = work(open_study(tmp_path, settings, url=postgres), 3, judge, ignore)
    assert [row["number"] for row in rows] == [0, 1, 2]
    assert tried == [2]
    with pytest.raises(ZooError, match="already") as refused:
        copy_studies(source, postgres)
    assert PASSWORD not in str(refused.value)


def test_a_server_that_refuses_or_is_lost_is_named_without_a_password(
    postgres: str, tmp_path: Path
) -> None:
    wrong = postgres.replace(PASSWORD, "wrong-guess")
    with pytest.raises(ZooError, match="password authentication failed") as refused:
        open_storage(wrong)
    assert "wrong-guess" not in str(refused.value)

    study = open_study(tmp_path, {"seed": "lost"}, url=postgres)

    def cut(number: int) -> dict[str, float]:
        with create_engine(postgres).begin() as connection:  # as if the study had vanished
            connection.execute(text("drop schema public cascade"))
        return judged(number)

    with (
        pytest.raises(ZooError, match=r"zoo:\*\*\*@/postgres' has failed: .*; go on") as lost,
        storage_errors(postgres, "has failed", "go on"),
    ):
        work(study, 2, cut, ignore)
    assert PASSWORD not in str(lost.value)
    with create_engine(postgres).begin() as connection:
        connection.execute(text("create schema public"))


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_a_journal_s_worker_is_stale_once_its_heartbeat_rests(tmp_path: Path) -> None:
    path = tmp_path / "study.log"
    study = optuna.create_study(storage=Journal(path, interval=1, patience=0))
    beating, resting = study.ask(), study.ask()
    other = Journal(path, interval=1, patience=0)
    identity = other.get_study_id_from_name(study.study_name)
    for beats in range(2):
        study._storage.record_heartbeat(beating._trial_id)
        assert other._get_stale_trial_ids(identity) == ([resting._trial_id] if beats else [])
    study.tell(beating, state=TrialState.FAIL)
    study._storage.record_heartbeat(beating._trial_id)  # too late, and no error


def test_a_damaged_journal_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "study.log").write_text("no journal\n" * 2)
    with pytest.raises(ZooError, match=r"study\.log' cannot be opened"):
        open_storage(f"journal:{tmp_path / 'study.log'}")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql+psycopg://zoo:hunter2@host/db", "postgresql+psycopg://zoo:***@host/db"),
        ("postgresql://zoo@host/db?password=hunter2", "postgresql://zoo@host/db"),
        ("postgresql://zoo:pass@hunter2@host/db", "postgresql://..."),
        ("postgresql://zoo:hunter2/db", "postgresql://..."),
        ("zoo:hunter2@host/db", "..."),
        ("sqlite:///runs/study.db", "sqlite:///runs/study.db"),
        ("journal:runs/a@b.log", "journal:runs/a@b.log"),
    ],
)
def test_urls_are_shown_without_their_passwords(url: str, expected: str) -> None:
    assert shown(url) == expected
    said = f"cannot resolve host of {url}"
    error = storage_error(url, "cannot be opened", ValueError(said), "mend it")
    assert "hunter2" not in str(error)
    assert str(error).startswith(f"The storage '{expected}' cannot be opened: ")
