"""A run packed for another machine goes on there, but for rounding."""

import pytest
import torch
from training import small, weights_of, write_arrays

from robnet_zoo.errors import ZooError
from robnet_zoo.train import pack as packing
from robnet_zoo.train.__main__ import main
from robnet_zoo.train.checkpoint import load_checkpoint, save_checkpoint
from robnet_zoo.train.pack import pack, unpack
from robnet_zoo.train.session import train


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A run of eight of its twelve steps, with values that half precision cannot hold."""
    folder = tmp_path_factory.mktemp("begun")
    train(small(write_arrays(folder), ema=0.5, early_until=0.0), folder / "run")
    for name in ("last.pt", "best.pt"):
        state = load_checkpoint(folder / "run" / name)
        state["position"]["plan"] = (0, 0.0, 12)
        if name == "last.pt":
            variances = [key for key in state["model"] if key.endswith("running_var")]
            state["model"][variances[0]][:2] = torch.tensor([1e-9, 1e6])
            state["optimiser"]["state"][0]["momentum_buffer"].mul_(1e-6)
        save_checkpoint(folder / "run" / name, state)
    return folder


def test_a_pack_loses_nothing_but_precision(begun, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "PART_BYTES", 20_000)
    size = pack(begun / "run", tmp_path / "pack")
    parts = list((tmp_path / "pack").glob("part-*"))
    assert sum(part.stat().st_size for part in parts) == size
    assert max(part.stat().st_size for part in parts) <= 20_000
    assert len(parts) > 2
    assert size < 0.6 * sum((begun / "run" / n).stat().st_size for n in ("last.pt", "best.pt"))
    assert {path.name for path in (tmp_path / "pack").iterdir()} == {
        "pack.json",
        *(part.name for part in parts),
    }
    unpack(tmp_path / "pack", tmp_path / "run")
    for name in ("last.pt", "best.pt"):
        ours, theirs = (weights_of(place / "run" / name) for place in (begun, tmp_path))
        assert ours.keys() == theirs.keys()
        for key, value in ours.items():
            assert theirs[key].dtype == value.dtype
            bits = (8 if key.startswith("momentum") else 11) if value.dim() > 1 else 60
            close = torch.allclose(
                theirs[key], value, rtol=2.0**-bits, atol=2.0**-25 * (bits == 11)
            )
            assert close, key
        kept, moved = (load_checkpoint(place / "run" / name) for place in (begun, tmp_path))
        for part in ("data", "settings"):
            assert moved[part] == kept[part]
        assert moved["position"] == kept["position"] | {"plan": [0, 0.0, 12]}
        assert torch.equal(moved["random"], kept["random"])
        assert torch.equal(moved["totals"], kept["totals"])


def test_an_unpacked_run_goes_on_at_the_same_step(begun, tmp_path, capsys):
    assert main(["pack", str(begun / "run"), "--out", str(tmp_path / "pack")]) == 0
    unpacked = tmp_path / "run"
    assert main(["unpack", str(tmp_path / "pack"), "--out", str(unpacked)]) == 0
    assert f"--resume --out {unpacked}" in capsys.readouterr().out
    state = load_checkpoint(unpacked / "last.pt")
    assert (state["position"]["step"], state["position"]["epoch"]) == (8, 2)
    assert main(["--resume", "--out", str(unpacked)]) == 0
    moved = load_checkpoint(unpacked / "last.pt")["position"]
    assert (moved["step"], moved["resumed"]) == (12, 1)
    losses = [row["loss"] for row in moved["history"]]
    assert losses[:2] == [row["loss"] for row in state["position"]["history"]]

    where = begun / "elsewhere.npz"
    where.write_bytes((begun / "digits.npz").read_bytes())
    settings = unpack(tmp_path / "pack", tmp_path / "again", f"arrays:{where}")
    record = train(settings, tmp_path / "again", resume=True)
    assert record["last"]["loss"] == losses[2]


def test_other_images_are_refused(begun, tmp_path):
    pack(begun / "run", tmp_path / "pack")
    settings = unpack(tmp_path / "pack", tmp_path / "run", "digits")
    with pytest.raises(ZooError, match="trained on other images than those of digits"):
        train(settings, tmp_path / "run", resume=True)


def test_a_pack_that_is_not_whole_is_refused(begun, tmp_path):
    folder = tmp_path / "pack"
    pack(begun / "run", folder)
    part = folder / "part-000"
    content = part.read_bytes()
    for altered in (content[:-1], content[:500] + b"?" + content[501:]):
        part.write_bytes(altered)
        with pytest.raises(ZooError, match="part-000' is not what was packed"):
            unpack(folder, tmp_path / "run")
    part.unlink()
    with pytest.raises(ZooError, match=r"Cannot read .*part-000"):
        unpack(folder, tmp_path / "run")
    with pytest.raises(ZooError, match="There is no pack"):
        unpack(tmp_path, tmp_path / "run")
    with pytest.raises(ZooError, match="already holds a run"):
        unpack(folder, begun / "run")
    assert not (tmp_path / "run").exists()
    part.write_bytes(content)
    with pytest.raises(ZooError, match="Cannot write"):
        pack(begun / "run", part / "pack")
    with pytest.raises(ZooError, match="Cannot write"):
        unpack(folder, part / "run")


def test_weights_beyond_half_precision_are_not_packed(begun, tmp_path):
    run = tmp_path / "run"
    pack(begun / "run", tmp_path / "pack")
    unpack(tmp_path / "pack", run)
    state = load_checkpoint(run / "last.pt")
    state["model"]["classifier.weight"][0, 0] = 1e5
    save_checkpoint(run / "last.pt", state)
    with pytest.raises(ZooError, match=r"classifier\.weight' is NaN, infinite or above 65504"):
        pack(run, tmp_path / "other")
    assert not (tmp_path / "other").exists()
