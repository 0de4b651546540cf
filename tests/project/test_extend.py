"""What CONTRIBUTING.md adds to the zoo from outside the package works as it stands."""

import re

import pytest
from helpers.documents import ROOT, blocks
from helpers.examples import run_examples

SECTIONS = {
    text.partition("\n")[0]: text
    for text in re.split(
        r"^### ", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), flags=re.MULTILINE
    )[1:]
}


@pytest.fixture(scope="module")
def ends(tmp_path_factory):
    """Return what each example printed and how it failed, if it did."""
    examples = {}
    for name, section in SECTIONS.items():
        (example,) = blocks(section, "python")
        examples[name] = example.text
    return run_examples(tmp_path_factory.mktemp("outside"), examples)


@pytest.mark.slow
@pytest.mark.parametrize("section", SECTIONS)
def test_an_addition_from_outside_works(section, ends):
    printed, error = ends[section]
    assert not error, error
    assert printed
