import json
import re

import pytest
from helpers.made_records import make
from helpers.small_nets import digits, robust_net

from robnet_zoo.eval import evaluate, record
from robnet_zoo.runtime.decode import json_schema
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


def test_the_schema_of_a_record_can_be_had():
    schema = json_schema(record.EvaluationRecord)
    whole, check = (schema["$defs"][name] for name in ("EvaluationRecord", "Check"))
    assert whole["properties"]["schema"] == {"enum": [record.SCHEMA]}
    assert set(whole["required"]) == set(whole["properties"]) - {"added"}
    assert not whole["additionalProperties"]
    assert set(check["required"]) == {"name", "passed", "detail"}


def records_of(root):
    paths = [*(root / "eval").rglob("*.json"), *(root / "search").rglob("evaluation.json")]
    return [path for path in sorted(paths) if record.schema_of(path) == record.SCHEMA]


def test_the_records_of_the_checkout_are_written_as_they_were(root, tmp_path):
    paths = records_of(root)
    assert len(paths) > 20
    for path in paths:
        text = path.read_text(encoding="utf-8")
        if '"folded"' not in text:  # made before the folded form
            inserted = r'\1,\n    "folded": false,\n    "compile": null'
            text = re.sub(r'(    "device": .*\n    "attacks": .*)', inserted, text)
        record.write(record.read(path), tmp_path / "a.json")
        assert (tmp_path / "a.json").read_text(encoding="utf-8") == text, path


def test_a_record_comes_back_as_it_was_written(report, tmp_path):
    record.write(report, tmp_path / "a.json")
    assert record.read(tmp_path / "a.json") == report
    assert next(iter(report.to_dict())) == "schema"
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
        lambda found: found["attacks"][0].pop("over_epsilon"),
        lambda found: found["attacks"][0]["robust"].update(accuracy=1.1),
        lambda found: found["attacks"][0]["robust"].update(surprise=1),
        lambda found: found["attacks"][0].update(verdicts="012"),
        lambda found: found["settings"]["attacks"].append("fgsm"),
        lambda found: found["model"].update(state_sha256="a"),
        lambda found: found["threat_model"].update(norm="L0"),
        lambda found: found["threat_model"].update(epsilon_value=0),
        lambda found: found["clean"]["predictions"].append(-2),
        lambda found: found["data"].update(n=0),
        lambda found: found.update(created="yesterday"),
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


def test_a_record_prints_as_its_table():
    lines = str(make(pgd20=120, pgd100=118)).splitlines()
    assert lines[0].startswith("racl.digits  1,000 parameters")
    (row,) = (line.split() for line in lines if line.startswith("pgd20"))
    assert row[:6] == ["pgd20", "60.00", "%", "53.1", "-", "66.5"]
    assert any(line.startswith("all attacks   59.00 %") for line in lines)
    assert lines[-1] == "checks: 1 passed"
