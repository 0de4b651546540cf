"""Python programs that start at once: each is forked from a server that has imported torch.

For tests whose subject is a process: killed, joined to others, or with an environment of its own.
Where the subject is what a program imports, start a new Python.
"""

import os
import runpy
import socket
import sys
import tempfile
from multiprocessing import get_context
from pathlib import Path
from subprocess import CompletedProcess

import torch

CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(["torch", "sklearn.datasets", "matplotlib.pyplot"])


class Program:
    """A started program, with what tests use of subprocess.Popen.

    Args:
        arguments: as for Python: "-m", "-c" or a script, and the program's own.
        cwd: its folder, by default the test's.
        env: its environment, by default the test's.
    """

    def __init__(self, arguments, *, cwd=None, env=None):
        self._folder = tempfile.TemporaryDirectory()
        self._streams = [Path(self._folder.name) / name for name in ("out", "err")]
        environment = dict(os.environ if env is None else env)
        given = [*map(str, arguments)], cwd or Path.cwd(), environment, self._streams
        self._process = CONTEXT.Process(target=_enter, args=given, daemon=True)
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self.returncode

    def wait(self, timeout=None):
        self._process.join(timeout)
        assert self.returncode is not None, "the program is still at work"
        return self.returncode

    def communicate(self, timeout=None):
        """Wait for the end; return stdout and stderr."""
        self.wait(timeout)
        out, err = (path.read_text("utf-8") for path in self._streams)
        return out, err

    def send_signal(self, number):
        os.kill(self.pid, number)


def run(arguments, **options):
    """Run a program to its end; return what subprocess.run does."""
    program = Program(arguments, **options)
    return CompletedProcess(arguments, *_ended(program))


def run_joined(count, arguments, *, env=None):
    """Run a program in joined processes, as torchrun does; return how the first that failed ended.

    One test starts torchrun itself, whose launcher takes longer than the programs.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": count}
    group |= {"LOCAL_WORLD_SIZE": count}
    programs = [
        Program(
            arguments,
            env=dict(os.environ if env is None else env)
            | {name: str(value) for name, value in group.items()}
            | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(count)
    ]
    ends = [CompletedProcess(arguments, *_ended(program)) for program in programs]
    return next((end for end in ends if end.returncode), ends[0])


def _ended(program):
    out, err = program.communicate(timeout=300)
    return program.returncode, out, err


def _enter(arguments, cwd, environment, streams):
    for number, path in enumerate(streams, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    if "OMP_NUM_THREADS" in environment:  # which is read when torch is imported
        torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    first, *rest = arguments
    sys.path.insert(0, "")
    if first == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv = [first, *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = arguments
        runpy.run_path(first, run_name="__main__")
