"""Pieces of Python from the pages, run in a process apart: they may register what they like."""

import json

from helpers.processes import run

RUN = """
import contextlib, io, json, sys, traceback
ends = {}
before, examples = json.load(open(sys.argv[1], encoding="utf-8"))
for name, text in examples.items():
    printed, error, names = io.StringIO(), "", {"__name__": "__main__"}
    try:
        with contextlib.redirect_stdout(printed):
            exec(before, names)
            exec(compile(text, name, "exec"), names)
    except BaseException:
        error = traceback.format_exc()
    ends[name] = [printed.getvalue(), error]
print(json.dumps(ends))
"""


def run_examples(folder, examples, before=""):
    """Run examples by name, each behind `before`; return what each printed, and its error."""
    (folder / "examples.json").write_text(json.dumps([before, examples]), encoding="utf-8")
    ended = run(["-c", RUN, "examples.json"], cwd=folder)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])
