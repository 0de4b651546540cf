"""A run that is stopped in any way goes on as if nothing had happened."""

import csv
import json
import os
import pickle
import signal
import time
from types import SimpleNamespace

import pytest
import torch
from helpers.processes import Program
from helpers.training import TRAINED, assert_same, quick, write_arrays

from robnet_zoo.runtime.checkpoint import load_checkpoint
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.lock import hold
from robnet_zoo.train.__main__ import main
from robnet_zoo.train.session import train
from robnet_zoo.train.tensorboard import TensorBoardLog

EVERYTHING = ("--set", "loss=trades", "--set", "awp=0.01", "--set", "awp_from=0.3")


def command(dataset, out, *more):
    return [
        *(
            "--model",
            "darts_v2",
            "--dataset",
            dataset,
            "--threat-model",
            "digits",
            "--out",
            str(out),
        ),
        *("--channels", "4", "--layers", "3", "--batch-size", "44", "--epochs", "3"),
        *("--set", "steps=2", "--set", "early_steps=1", "--set", "start=gaussian"),
        *(*EVERYTHING, "--accumulate", "2", *more),
    ]


def start(arguments):
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    return Program(["-m", "robnet_zoo.train", *arguments], env=os.environ | threads)


def wait_for_step(process, folder, step):
    """Wait until the process's checkpoint has come so far; return its position."""
    while process.poll() is None:
        if (folder / "last.pt").exists():
            position = load_checkpoint(folder / "last.pt")["position"]
            if position["step"] >= step:
                return position
        time.sleep(0.03)
    raise AssertionError(f"the run ended before: {process.communicate()[1]}")


@pytest.mark.slow
def test_killed_and_stopped_runs_end_with_the_weights_of_an_uninterrupted_one(tmp_path):
    dataset = write_arrays(tmp_path)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert main(command(dataset, whole)) == 0

    killed = start(command(dataset, broken, "--save-every", "0.001s", "--resume"))  # starts it
    wait_for_step(killed, broken, 2)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    stood = load_checkpoint(broken / "last.pt")["position"]
    assert stood["batch"] > 0  # in the middle of an epoch
    assert stood["step"] < 8

    on = ["--resume", "--out", str(broken), "--log", "tensorboard"]
    stopped = start([*on, "--save-every", "0.001s"])
    wait_for_step(stopped, broken, stood["step"] + 2)
    stopped.send_signal(signal.SIGTERM)
    _, told = stopped.communicate()
    assert stopped.returncode == 128 + signal.SIGTERM
    assert "go on with --resume" in told
    assert "Traceback" not in told

    time.sleep(1.1)  # TensorBoard reads a folder's files in the order of the second they are from
    assert main(on) == 0
    assert_same(whole / "last.pt", broken / "last.pt")
    assert_same(whole / "best.pt", broken / "best.pt")
    record = json.loads((broken / "record.json").read_text())
    assert record["resumed"] == 2
    assert record["best"] == json.loads((whole / "record.json").read_text())["best"]
    log = (broken / "history.csv").read_text().splitlines()
    assert [row.split(",")[:2] for row in log[1:]] == [["1", "4"], ["2", "8"], ["3", "12"]]
    header, *rows = csv.reader(log)
    shown = scalars(broken / "tensorboard")
    assert shown.keys() == set(header) - {"step"}
    for name, points in shown.items():
        written = [(int(row[1]), row[header.index(name)]) for row in rows]
        assert points == [(step, pytest.approx(float(value), rel=1e-5)) for step, value in written]


def scalars(folder):
    """Return what TensorBoard shows of a folder: for each name its steps and values."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def test_tensorboard_shows_each_step_once_whatever_was_taken_back(tmp_path):
    def run(*steps):
        rows = [{"step": step, "raw": step / n, "ema": None} for n, step in enumerate(steps, 1)]
        return SimpleNamespace(state=SimpleNamespace(history=rows))

    log = TensorBoardLog(tmp_path)
    for history in (run(4), run(4, 8), run(4, 9)):
        log(history)
    log(run(4, 8))  # after a rollback
    assert scalars(tmp_path)["raw"] == [(4, 4), (8, 4)]
    again = TensorBoardLog(tmp_path)  # another session, from the checkpoint of the first epoch
    again(run(4, 10))
    again(run(4, 10, 12))
    assert scalars(tmp_path)["raw"] == [(4, 4), (10, 5), (12, 4)]
    assert "ema" not in scalars(tmp_path)


def test_two_processes_in_one_folder_are_kept_apart(tmp_path, capsys):
    run = tmp_path / "run"
    first = start(command(write_arrays(tmp_path), run, "--epochs", "1000000"))
    try:
        while not (run / "best.pt").exists():
            assert first.poll() is None, first.communicate()[1]
            time.sleep(0.03)
        first.send_signal(signal.SIGSTOP)  # at work, and slow
        for again in (["--resume"], ["--model", "racl"]):
            assert main([*again, "--out", str(run)]) == 2
        told = capsys.readouterr().err
        assert "Another process is at work in" in told
        assert "already holds a run" in told
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    with hold(run), pytest.raises(ZooError, match="Another process"), hold(run):
        pass


def test_a_finished_run_is_left_as_it_is(tmp_path):
    settings = quick(write_arrays(tmp_path), epochs=1)
    first = train(settings, tmp_path / "run")
    again = train(settings.fitted(TRAINED), tmp_path / "run", resume=True)
    assert again["best"] == first["best"]
    assert again["steps"] == first["steps"] == 4


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("--epochs", "9"), "recipe epochs=2, so it cannot be resumed with 9"),
        (("--batch-size", "12"), "batch_size=45, so it cannot be resumed with 12"),
        (("--seed", "1"), "seed=0"),
        (("--recipe", "natural"), "cannot be resumed with natural"),
        (("--set", "lr=0.3"), "recipe lr=0.1"),
        (("--eps", "0.2"), "epsilon=None"),
    ],
)
def test_resuming_with_another_setting_is_refused(tmp_path, capsys, asked, told):
    from robnet_zoo.train.settings import write_settings

    write_settings(tmp_path, quick("arrays:x.npz").fitted(TRAINED))
    assert main(["--resume", "--out", str(tmp_path), *asked]) == 2
    assert told in capsys.readouterr().err


def test_damaged_checkpoints_are_told_and_never_run(tmp_path):
    settings = quick(write_arrays(tmp_path), epochs=1)
    train(settings, tmp_path / "run")
    last = tmp_path / "run" / "last.pt"
    content = last.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"no checkpoint at all"):
        last.write_bytes(damaged)
        with pytest.raises(ZooError, match="is damaged"):
            train(settings.fitted(TRAINED), tmp_path / "run", resume=True)

    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    hostile = {"format": "robnet_zoo.run/1", "model": Hostile()}
    last.write_bytes(pickle.dumps(hostile, protocol=2))
    with pytest.raises(ZooError, match="is damaged"):
        load_checkpoint(last)
    torch.save(hostile, last)
    with pytest.raises(ZooError, match="is damaged"):
        load_checkpoint(last)
    assert not (tmp_path / "harm").exists()
