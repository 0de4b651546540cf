import json
import re
import shutil

import pytest
import torch
import yaml
from helpers.small_nets import digits
from helpers.tiny_weights import edit_config, save_tiny
from huggingface_hub import ModelCard, parse_eval_result_entries

from robnet_zoo import create_model, get_weights, list_models
from robnet_zoo.cli.main import main
from robnet_zoo.eval import evaluate
from robnet_zoo.eval.inputs import RunMetadata
from robnet_zoo.genotypes import genotype_to_dict
from robnet_zoo.zoo.architectures import ARCHITECTURES
from robnet_zoo.zoo.card import card, write_card
from robnet_zoo.zoo.info import describe
from robnet_zoo.zoo.results import RESULTS, write_results
from robnet_zoo.zoo.weights import EMBEDDED, ROOT, read_weights

NAMES = RunMetadata(
    model="racl.tiny",
    architecture="racl",
    arguments={"channels": 4},
    data="digits",
    split="test",
)


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(6)  # gets some images right, so that attacks have something to do
    return save_tiny(tmp_path / "racl.tiny")[1]


def judge(folder, out, attacks=("fgsm", "pgd5"), n=20, threat="digits", metadata=NAMES):
    model = create_model(f"local-dir:{folder}")
    return evaluate(model, digits(n), list(attacks), threat, out=out, metadata=metadata)


@pytest.fixture
def record(weights, tmp_path):
    judge(weights.folder, tmp_path / "record.json")
    return tmp_path / "record.json"


@pytest.fixture
def natural(tmp_path):
    """A record of the same network with other parameters, on the same images."""
    save_tiny(tmp_path / "racl.tiny-natural")
    judge(tmp_path / "racl.tiny-natural", tmp_path / "natural.json")
    return tmp_path / "natural.json"


def front_matter(text):
    return ModelCard(text, ignore_metadata_errors=False).data.to_dict()


def test_the_front_matter_tells_the_hub_what_it_is(weights):
    found = front_matter(card(weights))
    assert found["library_name"] == "robnet_zoo"
    assert found["license"] == "mit"
    assert found["pipeline_tag"] == "image-classification"
    assert found["datasets"] == ["sklearn-docs/digits"]
    assert {"adversarial-robustness", "racl"} <= set(found["tags"])
    (entry,) = found["model-index"]
    assert entry["name"] == "racl.tiny"
    (result,) = entry["results"]
    assert result["dataset"] == {
        "name": "digits",
        "type": "sklearn-docs/digits",
        "split": "test",
    }
    assert result["source"]["url"].endswith("/blob/main/eval/results/racl.tiny.json")
    assert {metric["name"]: metric["value"] for metric in result["metrics"]} == {
        "clean accuracy": 0.953,
        "robust accuracy, pgd20, Linf 0.15": 0.704,
    }


def test_the_text_tells_what_a_reader_must_know(weights):
    text = card(weights)
    for words in (
        ARCHITECTURES["racl"].paper.title,
        "genotype: published",
        f"{weights.parameters:,} parameters, channels 4, layers 3",
        "| pgd20 | 70.4 % (66.0-74.4) |",
        "450 test images",
        "local-dir:racl.tiny",
        "not a certificate",
        "8x8",
        "seed 0",
    ):
        assert words in text


def stated(folder):
    """Return the entries that the Hub's own reader finds in a folder's results, by task."""
    entries = parse_eval_result_entries(yaml.safe_load((folder / RESULTS).read_text()))
    return {entry.task_id: entry for entry in entries}


def test_the_hub_reads_the_results_beside_the_card(weights):
    edit_config(weights.folder, results=weights.results | {"failed_checks": ["masking"]})
    write_results(read_weights(weights.folder))
    entries = stated(weights.folder)
    assert {task: entry.value for task, entry in entries.items()} == {
        "clean-accuracy": 0.953,
        "robust-accuracy-pgd20-linf-0.15": 0.704,
    }
    pgd = entries["robust-accuracy-pgd20-linf-0.15"]
    assert pgd.dataset_id == "sklearn-docs/digits"
    assert pgd.date == weights.results["date"]
    assert pgd.source_url.endswith("/blob/main/eval/results/racl.tiny.json")
    for words in ("first 450 test images", "66.0-74.4 %", "failed checks: masking"):
        assert words in pgd.notes
    assert "failed" not in entries["clean-accuracy"].notes


def test_results_without_a_record_are_not_published(weights):
    write_results(weights)
    results = {key: value for key, value in weights.results.items() if key != "record"}
    edit_config(weights.folder, results=results)
    found = read_weights(weights.folder)
    write_results(found)
    assert not (weights.folder / RESULTS).exists()
    text = card(found)
    assert "names no record" in text
    assert "70.4 %" not in text
    assert "model-index" not in text


def test_a_record_that_nobody_else_can_read_is_no_source(weights):
    edit_config(weights.folder, results=weights.results | {"record": "mine.json"})
    write_results(read_weights(weights.folder))
    assert {entry.source_url for entry in stated(weights.folder).values()} == {None}


def test_a_data_set_that_the_hub_does_not_have_is_in_the_card_alone(weights):
    write_results(weights)
    edit_config(weights.folder, dataset="stripes")
    found = read_weights(weights.folder)
    write_results(found)
    assert not (weights.folder / RESULTS).exists()
    told = front_matter(card(found))
    assert "datasets" not in told
    assert told["model-index"][0]["results"][0]["dataset"]["type"] == "stripes"


@pytest.mark.parametrize("changes", [{"results": {}}, {"training": {}}])
def test_a_card_does_without_what_is_not_known(weights, changes):
    edit_config(weights.folder, **changes)
    text = card(read_weights(weights.folder))
    assert ("Not evaluated yet" in text) == ("results" in changes)
    assert ("model-index" in text) != ("results" in changes)


def test_a_human_designed_network_has_no_cells_to_show(tmp_path):
    _, weights = save_tiny(tmp_path / "resnet18.tiny", "resnet18", layers=None)
    write_card(weights)
    assert "cell.svg" not in (weights.folder / "README.md").read_text()
    assert not (weights.folder / "cell.svg").exists()


def test_cells_searched_here_are_not_passed_off_as_the_paper_s(weights):
    title = ARCHITECTURES["racl"].paper.title
    text = card(weights)
    assert f"of *{title}*" in text
    assert "search of this project" not in text
    found = genotype_to_dict(weights.genotype) | {
        "status": "searched here",
        "source": {"note": "By way of a test."},
    }
    edit_config(weights.folder, genotype=found, genotype_status="searched here")
    create_model(f"local-dir:{weights.folder}", verify=True)
    text = " ".join(card(read_weights(weights.folder)).split())
    for words in (
        f"found by the method of *{title}*",
        "genotype: searched here",
        "search of this project",
        "no published number is theirs. By way of a test.",
        "cite the method's paper",
    ):
        assert words in text


@pytest.mark.parametrize("name", list_models(pretrained=True))
def test_the_zoo_s_own_weights_are_repositories_of_the_hub(name, tmp_path):
    """The embedded folders as they are published, those of weights/ as they stand."""
    weights = get_weights(name)
    if weights.folder.parent == EMBEDDED:
        weights = read_weights(shutil.copytree(weights.folder, tmp_path / name))
        write_card(weights)
    drawn = {"cell.svg"} if weights.genotype else set()
    files = {".eval_results", "README.md", "config.json", "model.safetensors"} | drawn
    found = {path.name for path in weights.folder.iterdir()}
    kept = {"curves.png", "history.csv", "log.txt", "smoke.json", "training.json"}
    assert files <= found <= files | kept  # of the training, where kept
    told = front_matter((weights.folder / "README.md").read_text())
    assert told["license"] == "mit"
    report = json.loads((ROOT / weights.results["record"]).read_text())
    judged = {"clean": report["clean"]["accuracy"]}
    judged |= {attack["name"]: attack["robust"] for attack in report["attacks"]}
    metrics = told["model-index"][0]["results"][0]["metrics"]
    shown = {metric["name"]: metric["value"] for metric in metrics}
    entries = stated(weights.folder)
    assert [entry.value for entry in entries.values()] == list(shown.values())
    assert {entry.date for entry in entries.values()} == {report["created"]}
    for attack, rate in judged.items():
        (value,) = [value for key, value in shown.items() if attack in key.replace(",", "").split()]
        assert value == round(rate["accuracy"], 4)


def test_the_card_shows_the_drawing_beside_it(weights):
    write_card(weights)
    (image,) = re.findall(r"!\[.*\]\((.*)\)", (weights.folder / "README.md").read_text())
    assert (weights.folder / image).read_bytes().startswith(b"<?xml")


def test_attached_results_are_those_of_the_record(weights, record, natural, capsys):
    assert main(["attach", str(weights.folder), str(record), "--natural", str(natural)]) == 0
    assert "natural" in capsys.readouterr().out
    report = json.loads(record.read_text())
    found = read_weights(weights.folder)
    assert found.results["n"] == 20
    assert found.results["record"] == "record.json"
    assert found.results["date"] == report["created"]
    assert list(found.accuracies) == ["clean", "fgsm", "pgd5", "all attacks"]
    pgd = report["attacks"][1]
    assert found.accuracies["pgd5"] == {
        **{key: pgd["robust"][key] for key in ("accuracy", "low", "high")},
        "last": pgd["last"]["accuracy"],
    }
    twin = json.loads(natural.read_text())["clean"]["accuracy"]["accuracy"]
    assert found.natural["clean"]["accuracy"] == twin
    shown = f"{100 * pgd['robust']['accuracy']:.1f} %"
    assert shown in describe(f"local-dir:{weights.folder}")
    text = (weights.folder / "README.md").read_text()
    assert "trained naturally" in text
    assert shown in text
    create_model(f"local-dir:{weights.folder}", verify=True)


def refusal(capsys, *arguments):
    assert main(["attach", *map(str, arguments)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_record_of_other_weights_is_refused(weights, natural, capsys):
    before = (weights.folder / "config.json").read_bytes()
    assert "other parameters" in refusal(capsys, weights.folder, natural)
    assert (weights.folder / "config.json").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r["data"].update(split="validation"), "validation images of digits"),
        (lambda r: r["data"].update(name="mnist"), "images of mnist"),
        (lambda r: r["threat_model"].update(epsilon="0.1"), "Linf 0.1, but racl.tiny"),
        (lambda r: r["attacks"][1]["settings"].update(targeted=True), "holds pgd5-targeted"),
        (lambda r: r.pop("clean"), "missing required field `clean`"),
    ],
)
def test_a_record_made_on_other_terms_is_refused(weights, record, capsys, change, words):
    found = json.loads(record.read_text())
    change(found)
    record.write_text(json.dumps(found))
    assert words in refusal(capsys, weights.folder, record)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r["data"].update(sha256="0" * 64), "images"),
        (lambda r: r["model"].update(architecture="arnas"), "arnas"),
        (lambda r: r["threat_model"].update(epsilon="0.1"), "threat model"),
    ],
)
def test_a_twin_must_be_comparable(weights, record, natural, capsys, change, words):
    found = json.loads(natural.read_text())
    change(found)
    natural.write_text(json.dumps(found))
    assert words in refusal(capsys, weights.folder, record, "--natural", natural)


def test_failed_checks_are_told(weights, record):
    found = json.loads(record.read_text())
    found["checks"] = [{"name": "masking", "passed": False, "detail": "it looks masked"}]
    record.write_text(json.dumps(found))
    assert main(["attach", str(weights.folder), str(record)]) == 0
    text = (weights.folder / "README.md").read_text()
    assert "failed: masking" in text
    assert re.search(r"\| pgd5 *\| *[0-9.]+ % \([^)]*\)† \|", text)
    assert not re.search(r"clean.*†", text)
