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
