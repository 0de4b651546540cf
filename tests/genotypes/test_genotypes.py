"""Genotype files: what comes with the package, and what is refused."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robnet_zoo.genotypes import (
    Cell,
    RobNetGenotype,
    genotype_from_dict,
    genotype_to_dict,
    published,
    published_names,
    read_genotype,
    robnet_nodes,
)
from robnet_zoo.runtime.errors import ZooError

DIRECT_EDGES = (1, 4, 8, 13)  # from each state to the next one
INPUT_EDGES = (0, 1, 2, 3, 5, 6, 9, 10)


def written(tmp_path, value):
    path = tmp_path / "genotype.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_every_published_genotype_has_its_source_and_survives_a_round_trip():
    names = published_names()
    assert {"robnet_large", "robnet_free", "racl", "arnas", "pc_darts"} <= set(names)
    for name in names:
        genotype = published(name)
        assert genotype.name == name
        assert genotype.source["paper"]
        assert genotype.source.keys() & {"arxiv", "repository"}
        assert genotype_from_dict(genotype_to_dict(genotype)) == genotype


def test_genotypes_do_not_import_torch(run_python):
    use = "import sys; from robnet_zoo.genotypes import published; published('racl')"
    run_python(f"{use}; assert 'torch' not in sys.modules")


@pytest.mark.parametrize(
    ("name", "convolutions", "identities"), [("small", 7, 5), ("medium", 10, 6)]
)
def test_reconstructed_codes_follow_the_papers_rules(name, convolutions, identities):
    genotype = published(f"robnet_{name}")
    assert genotype.status == "reconstructed"
    assert "never published" in genotype.source["note"]
    (code,) = genotype.cells
    assert all(code[edge][1] == "1" for edge in DIRECT_EDGES)
    assert sum(edge[1] == "1" for edge in code) == convolutions
    assert sum(code[edge][0] == "1" for edge in INPUT_EDGES) == identities
    assert "00" not in code


def test_robnet_nodes_read_the_states_before_them_in_order():
    nodes = robnet_nodes(published("robnet_large").cells[0])
    assert [[source for _, source in node] for node in nodes] == [
        list(range(count)) for count in (2, 3, 4, 5)
    ]
    assert [edge for edge, _ in nodes[2]] == ["01", "11", "01", "10"]


def test_an_unknown_name_suggests_a_near_one():
    with pytest.raises(ZooError, match="did you mean robnet_free"):
        published("robnet_fre")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ZooError, match=r"Cannot read.*nowhere\.json"):
        read_genotype(tmp_path / "nowhere.json")
    with pytest.raises(ZooError, match="Cannot read"):
        read_genotype(tmp_path)


@pytest.mark.parametrize("text", ["", "not json", "{", '{"kind":' * 100_000, "\x00"])
def test_a_file_that_is_not_json_is_refused(tmp_path, text):
    with pytest.raises(ZooError, match="is not JSON"):
        read_genotype(written(tmp_path, text))


def test_bytes_that_are_not_text_are_refused(tmp_path):
    path = tmp_path / "genotype.json"
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ZooError, match="is not JSON"):
        read_genotype(path)


@pytest.mark.parametrize(
    "value", [[], {}, None, 3, "[" * 100_000, {"kind": "cells"}, {"kind": "robnet"}]
)
def test_json_that_is_no_genotype_is_refused(tmp_path, value):
    with pytest.raises(ZooError, match="does not fit its format"):
        read_genotype(written(tmp_path, value))


def changed(name, path, value):
    genotype = copy.deepcopy(genotype_to_dict(published(name)))
    *parents, last = path
    place = genotype
    for key in parents:
        place = place[key]
    place[last] = value
    return genotype


@pytest.mark.parametrize(
    ("name", "path", "value", "message"),
    [
        ("racl", ["kind"], "darts", r"Invalid value 'darts' - at `\$.kind`"),
        ("racl", ["status"], "guessed", r"Invalid enum value 'guessed' - at `\$.status`"),
        ("racl", ["name"], 5, r"Expected `str`, got `int` - at `\$.name`"),
        ("racl", ["cells"], {"normal": {"edges": [], "concat": []}}, "two edges"),
        ("arnas", ["cells", "extra"], {"edges": [["none", 0]] * 2, "concat": [2]}, "named"),
        ("racl", ["cells", "normal", "edges", 0, 0], "sep_conv_3x4", "did you mean sep_conv_3x3"),
        ("racl", ["cells", "normal", "edges", 0, 1], 2, "may read the states 0 to 1"),
        ("racl", ["cells", "normal", "edges", 7, 1], -1, "may read the states 0 to 4"),
        ("racl", ["cells", "normal", "edges", 7, 1], True, "Expected `int`, got `bool`"),
        ("racl", ["cells", "normal", "edges"], [["skip_connect", 0]], "two edges for each node"),
        ("racl", ["cells", "normal", "edges", 0], ["skip_connect"], "of length 2"),
        ("racl", ["cells", "normal", "concat"], [], "at least one node"),
        ("racl", ["cells", "normal", "concat"], [2, 2], "each once"),
        ("racl", ["cells", "normal", "concat"], [2, 6], "nodes 2 to 5"),
        ("robnet_large", ["cells"], [], "at least one cell"),
        ("robnet_large", ["cells", 0, 3], "12", r"matching regex .* at `\$.cells\[0\]\[3\]`"),
        ("robnet_large", ["cells", 0], ["11"] * 13, "has 13 edge codes"),
        ("robnet_free", ["cells", 4], ["00"] * 14, "Cell 4 has no operation"),
    ],
)
def test_a_damaged_genotype_is_refused_and_the_damage_named(tmp_path, name, path, value, message):
    with pytest.raises(ZooError, match=message) as caught:
        read_genotype(written(tmp_path, changed(name, path, value)))
    assert "genotype.json" in str(caught.value)


def test_values_are_checked_without_a_file_too():
    with pytest.raises(ZooError, match="has 1 edge codes"):
        RobNetGenotype("mine", "searched here", "by hand", (("11",),))
    with pytest.raises(ZooError, match="two edges"):
        Cell((), (2,))


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["normal", "reduce", "edges", "concat", "x"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(
    kind=st.sampled_from(["cells", "robnet"]),
    field=st.sampled_from(["name", "status", "cells"]),
    value=ANY_JSON,
)
def test_any_json_value_in_any_field_is_accepted_or_refused_in_one_sentence(kind, field, value):
    genotype = genotype_to_dict(published("racl" if kind == "cells" else "robnet_large"))
    try:
        genotype_from_dict(genotype | {field: value})
    except ZooError as error:
        assert str(error)
