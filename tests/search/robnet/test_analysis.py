"""The analysis of a study: effects that were put into a made table are found, absent ones not."""

import argparse
import json
import random

import numpy as np
import pytest

from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.search.robnet.analyse_command import configure, run
from robnet_zoo.search.robnet.analysis import distances, groups, relations
from robnet_zoo.search.robnet.analysis.correlation import correlation, worth
from robnet_zoo.search.robnet.analysis.figures import available
from robnet_zoo.search.robnet.codes import (
    COLUMNS,
    EDGE_NAMES,
    convolutions,
    density,
    direct_convolutions,
    identities,
    random_code,
    random_codes,
    to_text,
)
from robnet_zoo.search.robnet.table import Measured, Studied, read_control, read_study, write_table


def studied(robust_of, count=120, seed=0, cells=1):
    rng = random.Random(seed)
    made = []
    for number in range(count):
        codes = random_codes(rng, cells)
        robust = robust_of(codes, rng)
        made.append(Studied(number, codes, robust + 0.2, robust - 0.1, robust))
    return made


def dense_is_robust(codes, rng):
    return 0.3 + 0.3 * density(codes) + rng.gauss(0, 0.005)


def test_correlations_of_known_numbers():
    findings = correlation(np.array([1.0, 2, 3, 4, 5]), np.array([2.0, 1, 4, 3, 5]))
    assert findings["pearson"] == pytest.approx(0.8)
    assert findings["spearman"] == pytest.approx(0.8)
    assert findings["pearson_p"] == pytest.approx(0.1041, abs=1e-4)  # t = 2.309, 3 df
    cubes = correlation(np.arange(9.0), np.arange(9.0) ** 3)
    assert cubes["spearman"] == pytest.approx(1) and cubes["pearson"] < 0.95


def test_a_correlation_that_is_not_defined_is_none():
    for x in ([1.0, 1, 1, 1], [1.0, 2]):
        findings = correlation(np.array(x), np.arange(float(len(x))))
        assert findings["architectures"] == len(x)
        assert findings["pearson"] is None and findings["spearman_p"] is None


def test_density_is_found_where_it_matters_and_only_there():
    rows, findings = relations.densities(studied(dense_is_robust))
    assert findings["pearson"] > 0.95 and findings["pearson_p"] < 1e-20
    assert len(rows) == findings["architectures"] == 120
    _, noise = relations.densities(studied(lambda codes, rng: 0.4 + rng.gauss(0, 0.02)))
    assert abs(noise["pearson"]) < 0.25 and noise["pearson_p"] > 0.01


def test_a_direct_convolution_is_worth_what_was_put_in():
    def robust(codes, rng):
        direct = direct_convolutions(codes)
        skip = convolutions(codes) - direct
        return 0.3 + 0.02 * direct + 0.005 * skip + rng.gauss(0, 0.002)

    _, findings = relations.convolution_counts(studied(robust))
    value = findings["worth"]
    assert value["direct"] == pytest.approx(0.02, abs=3 * value["direct_error"])
    assert value["skip"] == pytest.approx(0.005, abs=3 * value["skip_error"])
    assert 0 < value["direct_error"] < 0.001
    assert findings["direct"]["pearson"] > 0.7 > findings["skip"]["pearson"] > 0


def test_errors_of_a_fit_match_the_textbook():
    x = np.array([1.0, 2, 3, 4])
    findings = worth({"x": x}, np.array([1.0, 2, 2, 4]))
    assert findings["x"] == pytest.approx(0.9)
    assert findings["x_error"] == pytest.approx(0.2645751)  # sqrt(0.7 / 2 / 5)
    assert worth({"x": x, "same": x}, x)["x"] is None


def test_linear_classifier_points_at_the_operation_that_matters():
    def robust(codes, rng):
        return 0.4 + 0.2 * (codes[0][8][1] == "1") + rng.gauss(0, 0.01)

    rows, findings = groups.edge_weights(studied(robust))
    best = max(rows, key=lambda row: row["weight"])
    assert (best["edge"], best["operation"]) == (EDGE_NAMES[8], "conv")
    assert findings["fitted_accuracy"] > 0.95 and findings["held_out_accuracy"] > 0.9
    _, noise = groups.edge_weights(studied(lambda codes, rng: rng.random()))
    assert noise["held_out_accuracy"] < 0.7 < findings["held_out_accuracy"]


def test_weights_of_dense_is_robust_are_nearly_all_positive():
    _, findings = groups.edge_weights(studied(dense_is_robust, cells=3))
    assert findings["weights"] == 28 and findings["positive_weights"] >= 26
    assert findings["architectures"] == 72  # 30 % of 120 at either end


def test_embedding_keeps_apart_what_is_apart():
    sparse_or_dense = random.Random(1)
    made = []
    for number in range(60):
        dense = number % 2
        codes = (random_code(sparse_or_dense, keep=0.9 if dense else 0.1),)
        made.append(Studied(number, codes, 0.6, 0.3, 0.5 if dense else 0.4))
    rows, findings = groups.embedding(made)
    assert findings["nearest_of_same_group"] > 0.9
    assert {row["group"] for row in rows} == {"top", "bottom"}
    assert all((row["group"] == "top") == (row["robust"] == 0.5) for row in rows)
    _, mixed = groups.embedding(studied(lambda codes, rng: rng.random()))
    assert 0.3 < mixed["nearest_of_same_group"] < 0.7


def test_budgets_separate_and_the_direct_share_counts_where_it_was_put():
    def robust(codes, rng):
        convs = convolutions(codes)
        share = direct_convolutions(codes) / convs if convs else 0
        return (0.3 + 0.1 * share if convs <= 7 else 0.4) + rng.gauss(0, 0.003)

    rows, findings = relations.budgets(studied(robust, count=400))
    assert findings["small"]["pearson"] > 0.5
    assert abs(findings["medium"]["pearson"]) < 0.3
    assert findings["small"]["mean_robust"] < findings["medium"]["mean_robust"]
    assert sum(findings[name]["architectures"] for name in findings) == len(rows)


def test_fine_tuning_s_gain_and_the_histogram_hold_every_architecture():
    made = studied(dense_is_robust)
    _, findings = relations.before_and_after(made)
    assert findings["mean_after"] - findings["mean_before"] == pytest.approx(0.1)
    assert findings["improved"] == 1 and findings["pearson"] == pytest.approx(1)
    rows, findings = relations.histogram(made)
    assert sum(row["architectures"] for row in rows) == 120
    assert rows[0]["from"] == pytest.approx(min(one.robust for one in made))
    assert findings["lowest"] < findings["median"] < findings["highest"]


def test_fsp_distance_goes_with_the_gap_in_the_cells_where_it_was_put():
    rng = random.Random(0)
    measured = []
    for number in range(40):
        gap = rng.uniform(0.1, 0.3)
        moved = (rng.random(), 5 * gap, gap**2)
        measured.append(Measured(number, random_codes(rng, 3), 0.7, 0.7 - gap, moved))
    rows, findings = distances.fsp_gaps(measured)
    assert len(rows) == 160  # of three cells, and of the mean over the deep ones
    assert abs(findings["cell_0"]["pearson"]) < 0.4
    assert findings["cell_1"]["pearson"] == pytest.approx(1)
    assert findings["cell_2"]["spearman"] == pytest.approx(1)
    assert findings["deep"]["spearman"] == pytest.approx(1)


def test_a_correlation_that_hangs_on_the_furthest_point_shows():
    rng = random.Random(0)
    measured = []
    for number in range(40):
        gap, distance = rng.uniform(0.1, 0.2), rng.random()
        if number == 7:
            gap, distance = 0.6, 30.0
        measured.append(Measured(number, random_codes(rng, 3), 0.7, 0.7 - gap, (1, 1, distance)))
    _, findings = distances.fsp_gaps(measured)
    assert findings["deep"]["pearson"] > 0.9
    others = findings["deep"]["without_furthest"]
    assert others["architectures"] == 39
    assert abs(others["pearson"]) < 0.3 and others["pearson_p"] > 0.05


def write_tuned(folder, count=40, robust_of=lambda measured: measured.robust_before):
    """Write the tables of a cell-free search in which all candidates were fine-tuned."""
    rng = random.Random(0)
    measured = [
        Measured(number, random_codes(rng, 3), 0.9, rng.uniform(0.5, 0.6), (1, 1, rng.random()))
        for number in range(count)
    ]
    write_table(
        folder / "candidates.csv",
        [
            {
                "number": each.number,
                "code": to_text(each.codes),
                "clean_before": each.clean_before,
                "robust_before": each.robust_before,
                **{f"fsp_{cell}": distance for cell, distance in enumerate(each.distances)},
            }
            for each in measured
        ],
    )
    empty = dict.fromkeys(COLUMNS) | {"state": "complete", "clean": 0.9}
    rows = [
        empty
        | {
            "number": number,  # the study's own: candidates are numbered anew by their distance
            "code": to_text(each.codes),
            "robust_before": each.robust_before,
            "robust": robust_of(each),
        }
        for number, each in enumerate(sorted(measured, key=lambda each: each.distances[2]))
    ]
    write_table(folder / "study.csv", rows)
    return rows


def test_the_control_finds_the_rule_that_tells_robust_candidates(tmp_path):
    write_tuned(tmp_path)  # the more robust before fine-tuning, the more robust after it
    analyse(tmp_path, "--figure", "fsp-control")
    findings = json.loads((tmp_path / "analysis" / "fsp-control.json").read_text())
    assert findings["architectures"] == 40
    inherited = findings["robust_before"]["robust"]
    assert inherited["spearman"] == pytest.approx(1)
    assert inherited["quarter"]["architectures"] == 10
    assert inherited["quarter"]["difference"] > 0.02
    assert inherited["quarter"]["mann_whitney_p"] < 1e-4
    for rule in ("deep_distance", "density"):
        assert abs(findings[rule]["robust"]["spearman"]) < 0.4
        assert findings[rule]["robust"]["quarter"]["mann_whitney_p"] > 0.01
    assert (tmp_path / "analysis" / "fsp-control.png").stat().st_size > 10_000

    write_tuned(tmp_path, robust_of=lambda measured: 0.6 - 0.1 * measured.distances[2])
    _, findings = distances.fsp_control(read_control(tmp_path))
    distance = findings["deep_distance"]
    assert distance["robust"]["spearman"] == pytest.approx(-1)
    assert distance["robust"]["without_furthest"]["pearson"] == pytest.approx(-1)
    assert distance["robust"]["quarter"]["difference"] > 0.02
    assert distance["gap"]["quarter"]["difference"] < -0.02


def test_the_control_takes_a_search_that_rejected_none(tmp_path):
    rows = write_tuned(tmp_path, count=12)
    assert "fsp-control" in available([tmp_path])
    rows[3] = dict.fromkeys(COLUMNS) | {"number": 3, "state": "failed"}
    write_table(tmp_path / "study.csv", rows)
    assert len(read_control(tmp_path)) == 11  # it failed, and was not rejected
    write_table(tmp_path / "study.csv", rows[:11])
    assert "fsp-control" not in available([tmp_path])
    with pytest.raises(ZooError, match=r"Of the 12 candidates .* 10 are fine-tuned"):
        read_control(tmp_path)
    other = study_rows(12)
    write_table(tmp_path / "study.csv", other)
    with pytest.raises(ZooError, match="the folder of one search"):
        read_control(tmp_path)


def study_rows(count):
    made = studied(dense_is_robust, count)
    values = [
        (
            one.number,
            to_text(one.codes),
            density(one.codes),
            convolutions(one.codes),
            identities(one.codes),
            1000,
            one.clean,
            one.robust_before,
            one.robust,
            1.5,
            "complete",
        )
        for one in made
    ]
    return [dict(zip(COLUMNS, row, strict=True)) for row in values]


def analyse(*arguments):
    parser = argparse.ArgumentParser()
    configure(parser)
    run(parser.parse_args([str(argument) for argument in arguments]))


def test_the_command_makes_every_figure_of_a_study(tmp_path, capsys):
    write_table(tmp_path / "study.csv", study_rows(40))
    analyse(tmp_path)
    names = {"before-after", "histogram", "tsne", "weights", "density", "convolutions", "budgets"}
    made = {path.name for path in (tmp_path / "analysis").iterdir()}
    assert made == {f"{name}.{kind}" for name in names for kind in ("csv", "json", "png")}
    for name in names:
        assert (tmp_path / "analysis" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    findings = json.loads((tmp_path / "analysis" / "density.json").read_text())
    assert findings["figure"] == "5" and findings["pearson"] > 0.9
    assert "Fig. 5" in capsys.readouterr().out


def test_several_studies_are_analysed_together(tmp_path):
    for name in ("a", "b"):
        write_table(tmp_path / name / "study.csv", study_rows(12))
    analyse(tmp_path / "a", tmp_path / "b", "--figure", "density", "--out", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "density.json").read_text())["architectures"] == 24


def test_only_complete_lines_count(tmp_path):
    rows = study_rows(12)
    rows[4] |= {"state": "fail", "robust": None, "clean": None}
    write_table(tmp_path / "study.csv", rows)
    assert [one.number for one in read_study(tmp_path)] == [*range(4), *range(5, 12)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"robust": "1.2"}, r"Line 5 .*between 0 and 1"),
        ({"robust": "x"}, r"Line 5 "),
        ({"code": "11 00"}, r"Line 5 .*14"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, change, message):
    rows = study_rows(12)
    rows[3] |= change
    write_table(tmp_path / "study.csv", rows)
    with pytest.raises(ZooError, match=message):
        read_study(tmp_path)


def test_folders_without_numbers_are_refused(tmp_path):
    with pytest.raises(ZooError, match=r"study\.csv"):
        analyse(tmp_path)
    write_table(tmp_path / "study.csv", study_rows(4))
    with pytest.raises(ZooError, match="4 complete architectures"):
        analyse(tmp_path)
    with pytest.raises(ZooError, match=r"candidates\.csv"):
        analyse(tmp_path, "--figure", "fsp")
