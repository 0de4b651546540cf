"""What runs share: a folder's lock, requests to stop, and the processes of a run."""

import os
import signal
import subprocess
import sys

import pytest

from robnet_zoo.runtime.distributed import ProcessGroup, process_group
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.lock import hold
from robnet_zoo.runtime.signals import SaveTimer, Stopped, stop_signals

HOLD = (
    "import pathlib, sys, time\n"
    "from robnet_zoo.runtime.lock import hold\n"
    "with hold(pathlib.Path(sys.argv[1])):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(60)\n"
)
UNIX_ONLY = ("fcntl", "resource", "pwd", "grp", "termios")


def test_a_lock_is_kept_from_others_and_given_back_by_a_process_that_dies(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        told = pytest.raises(ZooError, match=r"Another process .*; wait until .*another --out")
        with told, hold(tmp_path):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    with hold(tmp_path):
        pass
    with hold(tmp_path):  # and it was let go at the block's end
        pass


def test_a_lock_is_let_go_when_the_block_fails(tmp_path):
    with pytest.raises(RuntimeError), hold(tmp_path):
        raise RuntimeError
    with hold(tmp_path):
        pass


@pytest.mark.slow
def test_training_is_imported_where_there_is_no_unix():
    program = (
        "import importlib, pkgutil, sys\n"
        f"sys.modules |= dict.fromkeys({UNIX_ONLY!r})\n"  # an import of these fails from now on
        "import robnet_zoo.train, robnet_zoo.runtime\n"
        "for room in (robnet_zoo.train, robnet_zoo.runtime):\n"
        "    for module in pkgutil.iter_modules(room.__path__, f'{room.__name__}.'):\n"
        "        if not module.name.endswith('__main__'):\n"
        "            importlib.import_module(module.name)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_signal_is_a_request_that_is_answered_later():
    before = signal.getsignal(signal.SIGTERM)
    timer = SaveTimer(every=300.0)
    with stop_signals(timer):
        os.kill(os.getpid(), signal.SIGTERM)
        assert timer.due
    assert signal.getsignal(signal.SIGTERM) is before
    with pytest.raises(Stopped) as stopped:
        timer.raise_if_stopped()
    assert stopped.value.number == signal.SIGTERM


def test_a_checkpoint_is_due_every_so_often():
    seconds = 0.0
    timer = SaveTimer(every=60.0, now=lambda: seconds, saved=0.0)
    seconds = 60.0
    assert not timer.due
    seconds = 61.0
    assert timer.due
    timer.restart()
    assert not timer.due
    timer.raise_if_stopped()


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_every_thing_is_one_process_s_own(size):
    groups = [ProcessGroup(rank, size) for rank in range(size)]
    things = list(range(10))
    assert [thing for group in groups for thing in things[group.shard(10)]] == things
    assert sorted(number for group in groups for number in group.strided(10)) == things
    assert [group.main for group in groups].count(True) == 1


def test_one_process_is_a_group_of_its_own():
    with process_group("cpu") as processes:
        assert processes == ProcessGroup()
        assert processes.gather({3: "a"}) == {3: "a"}
        processes.wait()
