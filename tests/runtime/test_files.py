"""Files written whole or not at all, and what a command says and returns."""

import hashlib
import json

import pytest

from robnet_zoo.runtime import console
from robnet_zoo.runtime.errors import ZooError, unknown_name
from robnet_zoo.runtime.files import atomic_path, check_writable, sha256_of, write_json, write_text


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "new" / "record.json"
    write_json(path, {"accuracy": 0.5})
    write_json(path, {"accuracy": 0.25})
    assert json.loads(path.read_text()) == {"accuracy": 0.25}
    assert names(path.parent) == ["record.json"]


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "record.json"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half of the n")
        assert path.read_text() == "old"
        raise RuntimeError
    with pytest.raises(ValueError):
        write_json(path, {"accuracy": float("nan")})
    assert path.read_text() == "old"
    assert names(tmp_path) == ["record.json"]


def test_sha256_is_of_the_bytes(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc" * 100_000)
    assert sha256_of(path) == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_writable_places_are_accepted_and_left_alone(tmp_path):
    check_writable(tmp_path / "a" / "b" / "record.json")
    assert names(tmp_path) == []
    old = tmp_path / "old.json"
    old.write_text("kept")
    check_writable(old)
    assert old.read_text() == "kept" and names(tmp_path) == ["old.json"]


def test_unwritable_places_are_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ZooError, match="it is a folder; name a file"):
        check_writable(tmp_path)
    with pytest.raises(ZooError, match="file' is no folder; choose another path"):
        check_writable(tmp_path / "file" / "record.json")


def test_commands_end_with_their_code(capsys):
    def fail():
        raise ZooError("Unknown model 'rcl'; did you mean racl?")

    def interrupt():
        raise KeyboardInterrupt

    assert console.run(lambda: None) == 0
    assert console.run(lambda: 3) == 3
    assert console.run(fail) == 2
    said = capsys.readouterr()
    assert said.err == "error: Unknown model 'rcl'; did you mean racl?\n" and said.out == ""
    assert console.run(interrupt) == 130


def test_bugs_are_not_dressed_up_as_mistakes():
    with pytest.raises(ZeroDivisionError):
        console.run(lambda: 1 // 0)


def test_unknown_names_show_the_nearest_or_all():
    known = ["racl", "arnas", "robnet_free"]
    assert "did you mean robnet_free" in str(unknown_name("model", "RobNet-Free", known))
    said = str(unknown_name("model", "vit", known))
    assert said == "Unknown model 'vit'; known are arnas, racl, robnet_free."


def test_progress_without_a_terminal_is_a_line_now_and_then(capsys, monkeypatch):
    with console.progress(4, "PGD-20") as bar:
        bar.advance(2)  # too soon for a line
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(console, "PLAIN_SECONDS", 0.0)
    with console.progress(4, "PGD-20") as bar:
        bar.advance(1, note="robust 50 %")
        bar.advance(1)
    said = capsys.readouterr()
    first, second = said.err.splitlines()
    assert first.startswith("PGD-20: 25% (") and first.endswith("robust 50 %")
    assert second.startswith("PGD-20: 50% (") and second.endswith("robust 50 %")
    assert said.out == ""


def test_what_took_no_time_is_no_speed(capsys, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    with console.progress(10_000, "PGD-20", "passes") as bar:
        now += 100  # on other work
        bar.restart()
        bar.skip(4_000)  # done by an earlier run
        for _ in range(10):
            now += 1
            bar.advance(10)
        bar.skip(1_000)
        now += 1
        bar.advance(10)
    first, last = capsys.readouterr().err.splitlines()
    assert first == "PGD-20: 40% (10.0 passes/s, 599 s left)"
    assert last == "PGD-20: 51% (10.0 passes/s, 489 s left)"
