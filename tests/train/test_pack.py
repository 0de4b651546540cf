"""A run packed for another machine goes on there, but for rounding."""

import json

import pytest
import torch
from helpers.training import small, weights_of, write_arrays

from robnet_zoo import create_model
from robnet_zoo.runtime.checkpoint import load_checkpoint, save_checkpoint
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.train import pack as packing
from robnet_zoo.train import pack_files
from robnet_zoo.train.__main__ import main
from robnet_zoo.train.export import export
from robnet_zoo.train.pack import pack, pack_average, unpack
from robnet_zoo.train.session import train
from robnet_zoo.zoo.architectures import ARCHITECTURES

MIB = 1 << 20


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
            state["optimizer"]["state"][0]["momentum_buffer"].mul_(1e-6)
        else:
            state["average"]["classifier.weight"] += 0.001  # the last epoch may be the best one
        save_checkpoint(folder / "run" / name, state)
    return folder


def index_of(folder):
    return json.loads((folder / "pack.json").read_text())


def sizes_of(folder):
    return [path.stat().st_size for path in folder.iterdir()]


def close(ours, theirs, bits=11):
    """Whether two tensors are the same but for 16 bits, of which so many are significant."""
    if ours.dim() < 2:
        return torch.equal(ours, theirs)
    tiny = 2.0**-25 if bits == 11 else 0.0  # half of float16's smallest step
    return torch.allclose(theirs, ours, rtol=2.0**-bits, atol=tiny)


def test_a_pack_loses_nothing_but_precision(begun, tmp_path, monkeypatch):
    monkeypatch.setattr(pack_files, "PART_BYTES", 20_000)
    size = pack(begun / "run", tmp_path / "pack")
    parts = list((tmp_path / "pack").glob("part-*"))
    assert sum(part.stat().st_size for part in parts) == size
    assert max(part.stat().st_size for part in parts) <= 20_000
    assert len(parts) > 2
    assert size < 0.5 * sum((begun / "run" / n).stat().st_size for n in ("last.pt", "best.pt"))
    assert {path.name for path in (tmp_path / "pack").iterdir()} == {
        "pack.json",
        *(part.name for part in parts),
    }
    assert index_of(tmp_path / "pack")["left_out"] == []
    assert index_of(tmp_path / "pack")["rounded_bits"] == 0
    unpack(tmp_path / "pack", tmp_path / "run")
    for name in ("last.pt", "best.pt"):
        kept, moved = (load_checkpoint(place / "run" / name) for place in (begun, tmp_path))
        for part in ("data", "settings"):
            assert moved[part] == kept[part]
        assert moved["position"] == kept["position"] | {"plan": [0, 0.0, 12]}
        assert torch.equal(moved["random"], kept["random"])
        assert torch.equal(moved["totals"], kept["totals"])
    ours, theirs = (weights_of(place / "run" / "last.pt") for place in (begun, tmp_path))
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        assert theirs[key].dtype == value.dtype
        assert close(value, theirs[key], 8 if key.startswith("momentum") else 11), key
    best = load_checkpoint(tmp_path / "run" / "best.pt")
    for key, value in load_checkpoint(begun / "run" / "best.pt")["average"].items():
        assert close(value, best["average"][key]), key
        assert torch.equal(best["model"][key], best["average"][key])
    assert best["optimizer"]["state"] == {}


def test_what_is_equal_is_stored_once(begun, tmp_path):
    run = tmp_path / "run"
    pack(begun / "run", tmp_path / "pack")
    unpack(tmp_path / "pack", run)
    (run / "best.pt").write_bytes((run / "last.pt").read_bytes())
    pack(run, tmp_path / "other")
    index = index_of(tmp_path / "other")
    assert index["sources"]["last.pt/average"] == "best.pt/average"
    assert "last.pt/average" not in index["sections"]
    unpack(tmp_path / "other", tmp_path / "again")
    ours, theirs = (weights_of(tmp_path / name / "last.pt") for name in ("run", "again"))
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())


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
    (part,) = folder.glob("part-*")
    content = part.read_bytes()
    for altered in (content[:-1], content[:500] + b"?" + content[501:]):
        part.write_bytes(altered)
        with pytest.raises(ZooError, match=r"part-000-.*' is not what was packed"):
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


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        (3, "momentum starts anew"),
        (2, "last.pt/average is last.pt/model, momentum starts anew"),
        (
            1,
            "last.pt/model is best.pt/average, last.pt/average is best.pt/average, "
            "momentum starts anew",
        ),
    ],
)
def test_what_has_no_room_is_left_out_and_told(begun, tmp_path, monkeypatch, kept, told):
    pack(begun / "run", tmp_path / "whole")
    sections = index_of(tmp_path / "whole")["sections"]
    order = ["best.pt/average", "last.pt/model", "last.pt/average", "last.pt/momentum"]
    assert list(sections) == ["rest", *order]
    limit = pack_files.INDEX_ROOM + sum(sections[name] for name in ["rest", *order[:kept]])
    monkeypatch.setattr(pack_files, "LIMIT", limit)
    left_out = order[kept:]
    pack(begun / "run", tmp_path / "pack")
    assert index_of(tmp_path / "pack")["left_out"] == left_out
    settings = unpack(tmp_path / "pack", tmp_path / "run")
    record = train(settings, tmp_path / "run", resume=True)
    assert record["events"] == [f"unpacked at step 8: {told}"]
    assert (record["steps"], record["resumed"]) == (12, 1)


def test_low_bits_are_rounded_off_where_nothing_else_helps(begun, tmp_path, monkeypatch):
    pack(begun / "run", tmp_path / "whole")
    sections = index_of(tmp_path / "whole")["sections"]
    room = pack_files.INDEX_ROOM + sections["rest"]
    monkeypatch.setattr(pack_files, "LIMIT", room + sections["best.pt/average"] - 1)
    pack(begun / "run", tmp_path / "pack")
    unpack(tmp_path / "pack", tmp_path / "run")
    best = load_checkpoint(tmp_path / "run" / "best.pt")["average"]
    exact = load_checkpoint(begun / "run" / "best.pt")["average"]
    assert index_of(tmp_path / "pack")["rounded_bits"] == 1
    assert not all(close(value, best[key]) for key, value in exact.items())
    assert all(
        torch.allclose(best[key], value, rtol=2.0**-10 + 2.0**-11, atol=2.0**-23)
        for key, value in exact.items()
    )
    monkeypatch.setattr(pack_files, "LIMIT", room + sections["best.pt/average"] // 4)
    with pytest.raises(ZooError, match="too large for a pack: its weights take"):
        pack(begun / "run", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_rounding_keeps_signs_and_stays_finite():
    values = torch.tensor([[65504.0, -65504.0, 1 + 2.0**-10, -1 - 2.0**-10, 0.0, 6e-8]]).half()
    rounded = pack_files._rounded(values, 1)
    expected = torch.tensor([[65472.0, -65472.0, 1 + 2.0**-9, -1 - 2.0**-9, 0.0, 2 * 2.0**-24]])
    assert torch.equal(rounded.float(), expected)
    assert torch.equal(pack_files._rounded(values, 0), values)


def exported(run):
    return export(run, run.with_suffix(".weights")).folder


def test_an_unpacked_run_exports_its_best_average(begun, tmp_path):
    train(small(write_arrays(tmp_path), ema=0.5, early_until=0.0), tmp_path / "run")
    pack(tmp_path / "run", tmp_path / "pack")
    train(unpack(tmp_path / "pack", tmp_path / "moved"), tmp_path / "moved", resume=True)
    ours, theirs = (
        create_model(f"local-dir:{exported(tmp_path / run)}").state_dict()
        for run in ("run", "moved")
    )
    assert ours.keys() == theirs.keys()
    assert all(close(value, theirs[key]) for key, value in ours.items())


@pytest.mark.parametrize("judged", [True, False])
def test_a_light_pack_is_made_of_a_run_in_memory(begun, tmp_path, judged):
    state = load_checkpoint(begun / "run" / "last.pt")
    state["optimizer"]["param_groups"][0]["lr"] = torch.tensor(0.125)
    if not judged:
        state["position"] |= {"best": None, "history": []}
    settings = small(f"arrays:{begun / 'digits.npz'}", ema=0.5, early_until=0.0)
    whole = pack(begun / "run", tmp_path / "whole")
    assert pack_average(state, settings, tmp_path / "pack") < whole / 2
    assert index_of(tmp_path / "pack")["last.pt"]["groups"][0]["lr"] == 0.125
    unpacked = unpack(tmp_path / "pack", tmp_path / "run")
    assert unpacked == settings
    last, best = (load_checkpoint(tmp_path / "run" / name) for name in ("last.pt", "best.pt"))
    for moved in (last, best):
        for key, value in state["average"].items():
            assert close(value, moved["average"][key]), key
            assert torch.equal(moved["model"][key], moved["average"][key])
        assert moved["optimizer"]["state"] == {}
    events = [
        "unpacked at step 8: best.pt/average is last.pt/average, last.pt/model is "
        "last.pt/average, momentum starts anew"
    ]
    assert best["position"] == state["position"] | {"plan": [0, 0.0, 12]}
    assert last["position"] == best["position"] | {"events": events}
    record = train(unpacked, tmp_path / "run", resume=True)
    assert (record["steps"], record["events"]) == (12, events)
    assert export(tmp_path / "run", tmp_path / "weights").parameters > 0


def test_a_light_pack_without_an_average_holds_the_weights(begun, tmp_path):
    state = load_checkpoint(begun / "run" / "last.pt") | {"average": None}
    settings = small(f"arrays:{begun / 'digits.npz'}", ema=0.0, early_until=0.0)
    pack_average(state, settings, tmp_path / "pack")
    assert index_of(tmp_path / "pack")["left_out"] == ["best.pt/model", "last.pt/momentum"]
    unpack(tmp_path / "pack", tmp_path / "run")
    for name in ("last.pt", "best.pt"):
        moved = load_checkpoint(tmp_path / "run" / name)
        assert moved["average"] is None
        assert all(close(value, moved["model"][key]) for key, value in state["model"].items())


def test_an_older_pack_is_whole_until_the_new_index_is_written(begun, tmp_path, monkeypatch):
    folder = tmp_path / "pack"
    settings = small(f"arrays:{begun / 'digits.npz'}", ema=0.5, early_until=0.0)
    state = load_checkpoint(begun / "run" / "last.pt")
    pack_average(state, settings, folder)
    before = sorted(path.name for path in folder.iterdir())

    def fail(path, value):
        raise OSError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(pack_files, "write_json", fail)
        with pytest.raises(OSError, match="No space"):
            pack(begun / "run", folder)
    unpack(folder, tmp_path / "old")
    assert load_checkpoint(tmp_path / "old" / "last.pt")["optimizer"]["state"] == {}
    (folder / ".part-000-01234567.abc.tmp").write_bytes(b"half")
    pack(begun / "run", folder)
    after = sorted(path.name for path in folder.iterdir())
    assert len(after) == 2
    assert set(before) & set(after) == {"pack.json"}
    unpack(folder, tmp_path / "new")
    assert load_checkpoint(tmp_path / "new" / "last.pt")["optimizer"]["state"] != {}


def test_a_pack_of_another_format_is_refused(begun, tmp_path):
    folder = tmp_path / "pack"
    pack(begun / "run", folder)
    index = index_of(folder)
    (folder / "pack.json").write_text(json.dumps(index | {"format": "robnet_zoo.pack/1"}))
    with pytest.raises(ZooError, match=r"is no pack of format robnet_zoo\.pack/2"):
        unpack(folder, tmp_path / "run")
    (folder / "pack.json").write_text(json.dumps(index | {"sections": {"rest": 10}}))
    with pytest.raises(ZooError, match="is not readable by this version"):
        unpack(folder, tmp_path / "run")


def drawn(name):
    """Return a network of the zoo at full size, as a run's state has it."""
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        shapes = create_model(name).state_dict()
    return {
        key: torch.randn(like.shape, generator=generator)
        * ((2 / like[0].numel()) ** 0.5 if like.dim() > 1 else 1.0)
        for key, like in shapes.items()
    }


def full_size(begun, name):
    """Return the checkpoints of a network at full size; nothing in them is equal."""
    state = load_checkpoint(begun / "run" / "last.pt")
    best = drawn(name)
    model, average = ({k: factor * v for k, v in best.items()} for factor in (1.01, 1.001))
    learnt = [tensor for tensor in model.values() if tensor.dim() > 1]
    momentum = {i: {"momentum_buffer": 1e-4 * tensor} for i, tensor in enumerate(learnt)}
    state["optimizer"] = {"state": momentum, "param_groups": []}
    last = state | {"model": model, "average": average}
    return {"last.pt": last, "best.pt": state | {"model": model, "average": best}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sections"),
    [
        ("racl", 4),
        ("robnet_free", 4),
        ("robnet_large", 4),
        ("robnet_large_v2", 1),
        ("wrn_28_10", 1),
    ],
)
def test_networks_of_full_size_fit_what_a_machine_gives_back(
    begun, tmp_path, monkeypatch, name, sections
):
    states = full_size(begun, name)
    monkeypatch.setattr(packing, "load_checkpoint", lambda path: states[path.name])
    pack(begun / "run", tmp_path / "pack")
    sizes = sizes_of(tmp_path / "pack")
    assert max(sizes) < 16 * MIB
    assert sum(sizes) < 60 * MIB
    assert len(sizes) <= 5
    index = index_of(tmp_path / "pack")
    assert len(index["sections"]) == 1 + sections
    assert len(index["left_out"]) == 4 - sections
    if sections == 1:
        unpack(tmp_path / "pack", tmp_path / "moved")
        exact = states["best.pt"]["average"]
        best = load_checkpoint(tmp_path / "moved" / "best.pt")["average"]
        assert all(
            torch.allclose(best[key], value, rtol=2.0**-9, atol=2.0**-20)
            for key, value in exact.items()
        )


def test_the_largest_network_of_the_zoo_is_among_them():
    assert max(ARCHITECTURES.values(), key=lambda known: known.parameters).name == "wrn_28_10"
