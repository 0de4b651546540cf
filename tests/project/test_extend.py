"""What CONTRIBUTING.md adds to the zoo from outside the package works as it stands."""

import re

import pytest
from helpers.documents import ROOT, blocks

SECTIONS = re.split(r"^### ", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), flags=re.MULTILINE)[1:]


@pytest.mark.slow
@pytest.mark.parametrize("section", SECTIONS, ids=lambda text: text.partition("\n")[0])
def test_an_addition_from_outside_works(section, run_python, tmp_path):
    (example,) = blocks(section, "python")
    printed, _ = run_python(example.text, cwd=tmp_path)
    assert printed
