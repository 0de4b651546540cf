import json
import os
import subprocess
import sys

import pytest
from helpers.tiny_weights import save_tiny

from robnet_zoo import get_weights
from robnet_zoo.cli.main import main
from robnet_zoo.genotypes import genotype_to_dict, published
from robnet_zoo.zoo.architectures import ARCHITECTURES
from robnet_zoo.zoo.protocols import published_text


def failure(capsys, *arguments):
    """Run a command that must fail, and return its one line of complaint."""
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ("info", "raccl"),
        ("list", "nothing-like-it"),
        ("draw", "racl", "--out", "racl.gif"),
        ("convert", "missing.pth.tar", "--model", "robnet_free", "--out", "here"),
    ],
)
def test_a_mistake_ends_with_one_line_and_code_2(tmp_path, root, arguments):
    done = subprocess.run(
        [sys.executable, "-m", "robnet_zoo", *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


def test_list_shows_every_architecture(capsys):
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    for name, known in ARCHITECTURES.items():
        line = next(line for line in shown.splitlines() if line.startswith(f"{name} "))
        assert f"{known.parameters:,}" in line
        assert known.status in line
        assert known.paper.place in line
    (racl,) = (line for line in shown.splitlines() if line.startswith("racl "))
    weights = get_weights("racl")
    worst = min(rate["accuracy"] for rate in weights.accuracies.values())
    for words in ("racl  ", "cifar10 32x32", "36 x 20 (3,571,174)", f"{worst:.1%} ", " 8/255"):
        assert words in racl


def test_list_takes_a_pattern(capsys):
    assert main(["list", "arnas*"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == [
        "arnas",
        "arnas_tiny_imagenet",
    ]


def listed(capsys, *options):
    assert main(["list", *options]) == 0
    return capsys.readouterr().out


def test_list_leaves_out_what_has_no_weights_of_the_tag(capsys):
    lines = listed(capsys, "--tag", "digits").splitlines()[1:]
    names = {line.split()[0] for line in lines}
    assert "racl" in names and "resnet18" not in names
    (racl,) = (line for line in lines if line.startswith("racl "))
    assert " digits 8x8 " in racl and "cifar10 32x32" not in racl
    assert f"({get_weights('racl.digits').parameters:,})" in racl
    shown = listed(capsys, "--pretrained", "--tag", "digits").splitlines()[1:]
    assert [line.split()[0] for line in shown] == [
        f"{name}.digits" for name in ARCHITECTURES if name in names
    ]
    assert "did you mean digits" in failure(capsys, "list", "--tag", "digit")
    assert "no weights of vgg19;" in failure(capsys, "list", "vgg*", "--tag", "digits")


def test_list_gives_rows_that_a_machine_reads(capsys):
    rows = json.loads(listed(capsys, "--json"))
    assert [row["name"] for row in rows] == list(ARCHITECTURES)
    assert len({tuple(row) for row in rows}) == 1  # the same keys, whatever is known
    by_name = {row["name"]: row for row in rows}
    racl, weights = by_name["racl"], get_weights("racl")
    assert (racl["parameters"], racl["arguments"]["channels"]) == (3_571_174, 36)
    assert racl["pretrained"]["name"] == weights.name and weights.tag in racl["tags"]
    assert racl["pretrained"]["accuracies"] == weights.accuracies
    assert by_name["resnet18"]["pretrained"] is None
    (digits,) = json.loads(listed(capsys, "racl", "--json", "--tag", "digits"))
    (alone,) = json.loads(listed(capsys, "racl*", "--json", "--tag", "digits", "--pretrained"))
    assert digits["pretrained"] == alone and alone["tag"] == "digits"


def test_a_reader_may_have_enough_of_the_output(root, tmp_path):
    command = f"{sys.executable} -m robnet_zoo list --json | true"
    done = subprocess.run(
        command,
        shell=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""


def test_near_names_are_offered(capsys):
    assert "did you mean racl?" in failure(capsys, "info", "raccl")
    assert "did you mean racl?" in failure(capsys, "draw", "rcl")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_info_tells_where_an_architecture_comes_from(capsys, name):
    assert main(["info", name]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    known = ARCHITECTURES[name]
    published = published_text(name) or [known.unpublished]
    for word in (name, known.paper.title, known.paper.place, known.status, *published):
        assert word in shown


def test_info_shows_weights_with_their_results(capsys, tmp_path):
    _, weights = save_tiny(tmp_path / "racl.tiny")
    assert main(["info", f"local-dir:{weights.folder}"]) == 0
    shown = capsys.readouterr().out
    for word in ("95.3 % (93.0-97.0)", "pgd20 70.4 %", "450 images", "0.15", weights.sha256):
        assert word in shown


def test_draw_names_the_file_after_the_model(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["draw", "racl"]) == 0
    assert "racl.svg" in capsys.readouterr().out
    assert (tmp_path / "racl.svg").read_bytes().startswith(b"<?xml")


def test_draw_takes_a_genotype_file(tmp_path):
    path = tmp_path / "found.json"
    path.write_text(json.dumps(genotype_to_dict(published("pc_darts"))))
    assert main(["draw", f"cells:{path}", "--out", str(tmp_path / "found.png")]) == 0
    assert (tmp_path / "found.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("source", ["tag", "folder", "local-dir:"])
def test_draw_takes_weights_and_draws_their_architecture(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    if source == "tag":
        named, out = "racl.digits", "racl.digits.svg"
    else:
        save_tiny(tmp_path / "deep" / "racl.tiny")
        named, out = source.replace("folder", "") + "deep/racl.tiny", "racl.tiny.svg"
    drawn = {}
    monkeypatch.setattr("robnet_zoo.plotting.cells.draw", lambda *args: drawn.update(args=args))
    assert main(["draw", named]) == 0
    genotype, path, _, caption = drawn["args"]
    assert (genotype.cells, str(path)) == (published("racl").cells, out)
    assert ARCHITECTURES["racl"].paper.short in caption


def test_info_shows_the_cells_of_a_genotype_file(capsys, tmp_path):
    path = tmp_path / "found.json"
    path.write_text(json.dumps(genotype_to_dict(published("pc_darts"))))
    assert main(["info", f"cells:{path}"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for words in (
        "genotype pc_darts",
        "normal: 2 = sep_conv_3x3(1) + skip_connect(0); 3",
        f"{ARCHITECTURES['pc_darts'].parameters:,} parameters with channels=36",
        f"--model cells:{path}",
    ):
        assert words in shown
    path.write_text(json.dumps(genotype_to_dict(published("robnet_free"))))
    assert main(["info", f"cells:{path}"]) == 0
    assert " 19: 2 = " in " ".join(capsys.readouterr().out.split())


def test_draw_tells_what_cannot_be_drawn(capsys, tmp_path):
    assert "no cells" in failure(capsys, "draw", "resnet18")
    (tmp_path / "empty.json").touch()
    assert "empty.json" in failure(capsys, "draw", f"cells:{tmp_path / 'empty.json'}")
    out = tmp_path / "empty.json" / "racl.svg"
    assert str(out) in failure(capsys, "draw", "racl", "--out", out)


@pytest.mark.parametrize(
    ("name", "word"), [("eval", "--attack"), ("train", "--recipe"), ("search", "racl")]
)
def test_other_commands_are_passed_on(capsys, name, word):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert word in capsys.readouterr().out


def test_help_and_listing_leave_torch_alone(run_python):
    code = """
import sys
from robnet_zoo.cli.main import main
main(["list"]); main(["info", "racl"])
for command in ([], ["train"], ["eval"], ["search", "arnas"]):
    try:
        main([*command, "--help"])
    except SystemExit:
        pass
assert "torch" not in sys.modules
"""
    run_python(code)
