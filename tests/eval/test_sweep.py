import csv

import pytest
from helpers.fitted import save_fitted
from helpers.made_records import make
from helpers.small_nets import digits, robust_net
from PIL import Image

from robnet_zoo.eval import evaluate, record
from robnet_zoo.eval.__main__ import main
from robnet_zoo.eval.studies import plots
from robnet_zoo.threat_models import get_threat_model


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights") / "racl.digits"
    save_fitted(folder)
    return folder


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def written(study, folder):
    table, picture = plots.write_plot(study, folder)
    with Image.open(picture) as image:
        assert image.format == "PNG"
        assert image.width > 400
    return rows(table)


def test_one_long_run_holds_every_shorter_one():
    threat = get_threat_model("digits")
    long = evaluate(robust_net(), digits(64), ["pgd8"], threat)
    lines = plots.step_lines([long], "pgd8")
    for steps in (1, 3, 8):
        short = evaluate(robust_net(), digits(64), [f"pgd{steps}"], threat).attacks[0]
        assert lines["last iterate"][steps] == (steps, short.last)
        assert lines["any iterate so far"][steps] == (steps, short.robust)


def test_accuracy_against_epsilon_starts_at_the_clean_one(tmp_path):
    reports = [
        make(pgd20=100, epsilon="0.2"),
        make(pgd20=150, epsilon="0.1"),
        make("pc_darts.digits", clean=170, pgd20=160, epsilon="0.1"),
        make("pc_darts.digits", clean=170, pgd20=90, epsilon="0.2"),
    ]
    (study,) = plots.plots(reports)
    found = written(study, tmp_path)
    assert [(row["name"], row["epsilon"], row["correct"]) for row in found] == [
        ("racl.digits", "0", "180"),
        ("racl.digits", "0.1", "150"),
        ("racl.digits", "0.2", "100"),
        ("pc_darts.digits", "0", "170"),
        ("pc_darts.digits", "0.1", "160"),
        ("pc_darts.digits", "0.2", "90"),
    ]
    assert float(found[1]["low"]) < float(found[1]["accuracy"]) == 0.75 < float(found[1]["high"])


def test_models_are_compared_by_steps_and_parameters(tmp_path):
    reports = [
        make(pgd3=(120, (180, 150, 130, 120)), parameters=1000),
        make("pc_darts.digits", pgd3=(110, (180, 140, 120, 110)), parameters=2000, sha="b" * 64),
    ]
    steps, parameters = plots.plots(reports)
    counts = [(row["name"], row["step"], row["correct"]) for row in written(steps, tmp_path)]
    assert counts[1] == ("racl.digits", "1", "150")
    assert counts[-1] == ("pc_darts.digits", "3", "110")
    found = written(parameters, tmp_path)
    assert [(row["parameters"], row["correct"]) for row in found] == [
        ("1000", "120"),
        ("2000", "110"),
    ]


def test_a_run_that_another_holds_is_not_drawn():
    traces = {"pgd2": (150, (180, 160, 150)), "pgd3": (140, (180, 160, 150, 140))}
    assert [study.caption for study in plots.plots([make(**traces)])] == [
        "PGD-3 after each step (digits, Linf 0.15, n = 200)"
    ]


def test_models_of_one_name_are_told_apart():
    reports = [make(pgd3=120), make(pgd3=110, sha="b" * 64)]
    assert list(plots.parameter_points(reports, "pgd3")) == [
        "racl.digits (aaaaaa)",
        "racl.digits (bbbbbb)",
    ]


def test_sizes_and_data_sets_are_not_mixed():
    assert not plots.plots([make(pgd3=120), make("pc_darts.digits", pgd3=110, epsilon="0.1")])
    assert not plots.plots([make(pgd3=120)])


def test_figures_of_two_norms_have_files_of_their_own(tmp_path):
    reports = [
        make(pgd20=100 - size, epsilon=f"{size}/10", norm=norm)
        for norm in ("Linf", "L2")
        for size in (1, 2)
    ]
    names = [
        path.name for study in plots.plots(reports) for path in plots.write_plot(study, tmp_path)
    ]
    assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())
    assert "epsilon-pgd20-digits-L2.csv" in names and len(names) == 4


def test_one_record_of_a_minimal_attack_holds_the_whole_curve(tmp_path):
    report = evaluate(robust_net(), digits(48), ["deepfool", "fgsm"], get_threat_model("digits"))
    record.write(report, tmp_path / "record.json")
    (study,) = plots.plots([record.read(tmp_path / "record.json")])
    assert study.caption == "DeepFool: accuracy at most (tensors, Linf, n = 48)"
    found = written(study, tmp_path)
    assert (tmp_path / "security-deepfool-tensors-Linf.csv").is_file()
    assert {row["n"] for row in found} == {"48"}
    correct = {float(row["epsilon"]): int(row["correct"]) for row in found}
    assert correct[0.0] == report.clean.accuracy.correct
    assert correct[0.15] == report.attacks[0].robust.correct
    assert list(correct.values()) == sorted(correct.values(), reverse=True)
    distances = [distance for distance in report.attacks[0].distances if distance is not None]
    assert max(correct) == pytest.approx(max(distances))
    assert correct[max(correct)] == 48 - len(distances)


class TestCommand:
    def test_a_minimal_attack_needs_no_sizes(self, weights, tmp_path, capsys):
        options = ["--model", f"local-dir:{weights}", "--attack", "torchattacks:GN", "--n", "16"]
        assert main(["sweep", *options, "--out", str(tmp_path)]) == 0
        assert (tmp_path / "security-torchattacks-GN-digits-Linf.png").is_file()
        assert len(list((tmp_path / "records").iterdir())) == 1

    def test_a_sweep_leaves_records_tables_and_plots(self, weights, tmp_path, capsys):
        options = ["--model", f"local-dir:{weights}", "--attack", "pgd2", "--n", "32"]
        sizes = ["--epsilons", "0.02,1/10", "--iterations", "3", "--eps", "0.05"]
        assert main(["sweep", *options, *sizes, "--out", str(tmp_path)]) == 0
        told = capsys.readouterr().out
        found = rows(tmp_path / "epsilon-pgd2-digits-Linf.csv")
        assert [row["epsilon"] for row in found] == ["0", "0.02", "0.1"]
        counts = [int(row["correct"]) for row in found]
        assert counts == sorted(counts, reverse=True)
        first = record.read(tmp_path / "records" / "racl.digits-pgd2-0.02.json")
        assert first.attacks[0].robust.correct == counts[1]
        assert first.threat_model.step_value == pytest.approx(0.005)
        steps = rows(tmp_path / "steps-pgd3-digits-Linf-0.05.csv")
        assert [row["step"] for row in steps if row["name"] == "last iterate"] == list("0123")
        for name in ("epsilon-pgd2-digits-Linf.png", "steps-pgd3-digits-Linf-0.05.png"):
            assert str(tmp_path / name) in told
            assert (tmp_path / name).is_file()

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ([], "nothing to sweep; give --epsilons, --iterations or both"),
            (["--epsilons", "8"], "epsilon '8' is out of range"),
            (["--epsilons", "0.1", "--attack", "pdg20"], "did you mean"),
            (["--iterations", "0"], "has 0 steps"),
        ],
    )
    def test_mistakes_are_said_in_one_sentence(self, weights, tmp_path, capsys, options, told):
        command = ["sweep", "--model", f"local-dir:{weights}", "--out", str(tmp_path)]
        assert main([*command, *options]) == 2
        message = capsys.readouterr().err
        assert told in message
        assert message.count("\n") == 1

    def test_figures_are_drawn_from_records(self, tmp_path, capsys):
        paths = []
        for name, parameters in (("racl.digits", 1000), ("pc_darts.digits", 2000)):
            paths.append(tmp_path / f"{name}.json")
            record.write(make(name, pgd3=(90, (180, 90)), parameters=parameters), paths[-1])
        assert main(["figures", *map(str, paths), "--out", str(tmp_path / "out")]) == 0
        assert {path.name for path in (tmp_path / "out").iterdir()} == {
            "parameters-pgd3-digits-Linf-0.15.csv",
            "parameters-pgd3-digits-Linf-0.15.png",
            "classes-racl.digits.png",
            "classes-pc_darts.digits.png",
        }
        assert "Written:" in capsys.readouterr().out

    def test_records_of_one_file_name_do_not_overwrite_each_other(
        self, tmp_path, monkeypatch, capsys
    ):
        monkeypatch.chdir(tmp_path)
        for folder in ("results", "judges"):
            record.write(make(fgsm=90), tmp_path / folder / "racl.digits.json")
        records = [f"{folder}/racl.digits.json" for folder in ("results", "judges")]
        assert main(["figures", *records, "--out", "out"]) == 0
        assert {path.name for path in (tmp_path / "out").iterdir()} == {
            "classes-results-racl.digits.png",
            "classes-judges-racl.digits.png",
        }
