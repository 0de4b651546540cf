import dataclasses
import json

import jsonschema
import pytest
from helpers.small_nets import digits, robust_net

from robnet_zoo.eval import evaluate, record
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.runtime.statistics import proportion


@pytest.fixture(scope="module")
def report():
    return evaluate(robust_net(), digits(20), ["fgsm", "pgd5"], "digits")


def test_wilson_intervals_match_published_values():
    # Newcombe 1998, Table I: 81/263, 15/148, 0/20, 1/29, method 3
    for correct, n, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ]:
        found = proportion(correct, n)
        assert (found.low, found.high) == (
            pytest.approx(low, abs=5e-5),
            pytest.approx(high, abs=5e-5),
        )
    assert proportion(20, 20).high == 1


@pytest.mark.parametrize(("correct", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_what_is_no_proportion_is_refused(correct, n):
    with pytest.raises(ValueError, match="not a proportion"):
        proportion(correct, n)


def test_a_record_satisfies_its_schema(report):
    schema = json.loads(record.SCHEMA_FILE.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(report.to_dict(), schema)
    assert set(schema["properties"]) == {field.name for field in dataclasses.fields(report)}


def test_a_record_comes_back_as_it_was_written(report, tmp_path):
    record.write(report, tmp_path / "a.json")
    assert record.read(tmp_path / "a.json") == report
    assert json.loads((tmp_path / "a.json").read_text()) == report.to_dict()


def test_per_image_lists_take_one_line(report, tmp_path):
    record.write(report, tmp_path / "a.json")
    text = (tmp_path / "a.json").read_text()
    assert f'"predictions": {list(report.clean.predictions)}' in text


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.pop("clean"),
        lambda found: found.update(schema="robnet_zoo.evaluation/2"),
        lambda found: found["attacks"][0].update(surprise=1),
        lambda found: found["totals"].pop("robust"),
        lambda found: found.update(attacks=3),
    ],
)
def test_an_altered_record_is_refused(report, tmp_path, change):
    found = report.to_dict()
    change(found)
    (tmp_path / "a.json").write_text(json.dumps(found))
    with pytest.raises(ZooError, match=r"a\.json"):
        record.read(tmp_path / "a.json")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"schema": 1}'])
def test_what_is_no_record_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ZooError, match=r"a\.json"):
        record.read(tmp_path / "a.json")
