"""What CONTRIBUTING.md adds to the zoo from outside the package works as it stands."""

import json
import re

import pytest
from helpers.documents import ROOT, blocks

SECTIONS = {
    text.partition("\n")[0]: text
    for text in re.split(
        r"^### ", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), flags=re.MULTILINE
    )[1:]
}
# one process for all examples: most of their time is the import of torch
RUN = """
import contextlib, io, json, sys, traceback
ends = {}
for name, text in json.load(open(sys.argv[1], encoding="utf-8")).items():
    printed, error = io.StringIO(), ""
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(text, name, "exec"), {"__name__": "__main__"})
    except BaseException:
        error = traceback.format_exc()
    ends[name] = [printed.getvalue(), error]
print(json.dumps(ends))
"""


@pytest.fixture(scope="module")
def ends(run_python, tmp_path_factory):
    """Return what each example printed and how it failed, if it did."""
    folder = tmp_path_factory.mktemp("outside")
    examples = {}
    for name, section in SECTIONS.items():
        (example,) = blocks(section, "python")
        examples[name] = example.text
    (folder / "examples.json").write_text(json.dumps(examples), encoding="utf-8")
    printed, _ = run_python(RUN, "examples.json", cwd=folder)
    return json.loads(printed.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("section", SECTIONS)
def test_an_addition_from_outside_works(section, ends):
    printed, error = ends[section]
    assert not error, error
    assert printed
