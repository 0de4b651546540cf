import io
import json
import pickle

import pytest
import torch
from helpers.tiny_weights import edit_config, edit_tensors, replace_file, save_tiny

from robnet_zoo import create_model
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.zoo import save_weights
from robnet_zoo.zoo.weights import read_weights

NAME = "cells.0.preprocess1.op.1.weight"


@pytest.fixture
def folder(tmp_path):
    save_tiny(tmp_path / "racl.tiny")
    return tmp_path / "racl.tiny"


def load(folder, **options):
    return create_model(f"local-dir:{folder}", **options)


def refused(folder, *words, **options):
    with pytest.raises(ZooError) as caught:
        load(folder, **options)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_loaded_model_computes_what_was_saved_up_to_half_precision(tmp_path):
    network, weights = save_tiny(tmp_path / "racl.tiny")
    loaded = load(weights.folder, verify=True)
    images = torch.rand(4, 1, 8, 8)
    assert not loaded.training
    assert {tensor.dtype for tensor in loaded.parameters()} == {torch.float32}
    torch.testing.assert_close(loaded(images), network.eval()(images), rtol=0.02, atol=0.02)
    halved = {name: tensor.half().float() for name, tensor in network.state_dict().items()}
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, halved[name]) or name.endswith("num_batches_tracked"), name


def test_saving_leaves_the_model_as_it_was(tmp_path):
    network, _ = save_tiny(tmp_path / "a.b")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    config = json.loads((tmp_path / "a.b" / "config.json").read_text())
    network.train()
    save_weights(network, tmp_path / "c.d", config)
    assert network.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_the_auxiliary_head_is_left_behind(tmp_path):
    _, weights = save_tiny(tmp_path / "racl.aux", auxiliary=True, image_size=8)
    assert "auxiliary" not in weights.arguments
    loaded = load(weights.folder, verify=True)
    assert loaded.auxiliary_head is None


def test_metadata_tells_size_hash_and_parameters(folder):
    weights = read_weights(folder)
    path = folder / "model.safetensors"
    assert weights.size_bytes == path.stat().st_size
    assert weights.parameters == sum(p.numel() for p in load(folder).parameters())
    assert weights.tag == "tiny"
    assert weights.accuracies["pgd20"]["accuracy"] == 0.704


def test_an_altered_byte_is_noticed(folder):
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    refused(folder, "altered", str(path), "again")


def test_a_truncated_file_is_noticed(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    refused(folder, "truncated", str(path))


def test_a_longer_file_is_noticed(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes() + b"more")
    refused(folder, "too long", str(path))


def test_a_missing_file_is_named(folder):
    (folder / "model.safetensors").unlink()
    refused(folder, "model.safetensors", "again")


def test_a_file_larger_than_the_network_is_not_even_read(folder):
    path = folder / "model.safetensors"
    with path.open("wb") as file:
        file.truncate(1 << 34)  # sparse: takes no room
    edit_config(folder, size_bytes=1 << 34)
    refused(folder, "more than racl can need")


def test_an_oversized_header_is_refused(folder):
    replace_file(folder, (1 << 40).to_bytes(8, "little") + b"{}")
    refused(folder, "oversized header")


def test_a_pickle_is_never_loaded(folder):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was executed",))

    replace_file(folder, pickle.dumps(Bomb()))
    refused(folder, "not used")
    buffer = io.BytesIO()
    torch.save({"state_dict": Bomb()}, buffer)
    replace_file(folder, buffer.getvalue())
    refused(folder, "not used")


def test_garbage_behind_a_sound_header_is_refused(folder):
    header = b'{"a":{"dtype":"F16","shape":[9],"data_offsets":[0,2]}}'
    replace_file(folder, len(header).to_bytes(8, "little") + header + b"ab")
    refused(folder, "not a valid safetensors file")


def header(entries):
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        (9).to_bytes(8, "little") + b"{}",
        (100_000).to_bytes(8, "little") + b"[" * 100_000,
        header([]),
        header({NAME: {"dtype": "F16", "shape": [2**62, 2**62], "data_offsets": [0, 2]}}) + b"ab",
        header({NAME: {"dtype": "F16", "shape": [1], "data_offsets": [2**62, 2**62 + 2]}}) + b"ab",
        header({NAME: {"dtype": "F16", "shape": [-1], "data_offsets": [0, 2]}}) + b"ab",
        header({NAME: {"dtype": "object", "shape": [1], "data_offsets": [0, 2]}}) + b"ab",
        header({n: {"dtype": "F16", "shape": [1], "data_offsets": [0, 2]} for n in "ab"}) + b"ab",
    ],
)
def test_a_hostile_header_is_refused(folder, content):
    replace_file(folder, content)
    refused(folder, "it is not used")


def test_tensors_of_another_architecture_are_refused(folder, tmp_path):
    _, other = save_tiny(tmp_path / "robnet_large.tiny", "robnet_large")
    replace_file(folder, (other.folder / "model.safetensors").read_bytes())
    refused(folder, "does not hold the tensors of racl", "lacks", "surplus")


def test_missing_and_surplus_tensors_are_named(folder):
    edit_tensors(folder, lambda tensors: tensors.update(extra=tensors.pop(NAME)))
    refused(folder, NAME, "extra", "lacks 1", "surplus of 1")


def test_a_wrong_shape_is_named(folder):
    edit_tensors(folder, lambda tensors: tensors.update({NAME: tensors[NAME][:1].clone()}))
    refused(folder, NAME, "[1, 12, 1, 1]", "[4, 12, 1, 1]")


@pytest.mark.parametrize("kind", [torch.int32, torch.float64, torch.bfloat16])
def test_other_number_types_are_refused(folder, kind):
    edit_tensors(folder, lambda tensors: tensors.update({NAME: tensors[NAME].to(kind)}))
    refused(folder, NAME, str(kind).removeprefix("torch."), "float16")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinity_are_refused(folder, value):
    edit_tensors(folder, lambda tensors: tensors[NAME].view(-1)[0].fill_(value))
    refused(folder, NAME, "NaN")


def test_weights_of_another_genotype_do_not_pass_for_the_architecture(tmp_path):
    _, weights = save_tiny(tmp_path / "pc_darts.tiny", "pc_darts")
    edit_config(weights.folder, architecture="racl")
    refused(weights.folder, "racl", "genotype")


def test_a_gigantic_network_is_refused_before_it_takes_memory(folder):
    huge = {"channels": 4096, "layers": 60, "num_classes": 10, "in_channels": 1}
    edit_config(folder, arguments=huge)  # no machine could hold it
    refused(folder, "does not hold the tensors")


def test_thousands_of_cells_are_refused_before_they_take_minutes(folder):
    edit_config(folder, arguments={"channels": 4, "layers": 4000, "num_classes": 10})
    refused(folder, "layers", "256")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "JSON"),
        ("[" * 100_000, "format"),
        ('{"format":' * 100_000, "format"),
        ('{"training":' * 100_000, "JSON"),
        ("[]", "format"),
        ('{"format": "other/1"}', "format"),
        ('{"format": "robnet_zoo.weights/1", "name": "racl.tiny"}', "architecture"),
    ],
)
def test_a_broken_description_is_refused(folder, text, word):
    (folder / "config.json").write_text(text)
    refused(folder, "config.json", word)


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": None},
        {"size_bytes": "1"},
        {"arguments": {"channels": -4, "layers": 3, "num_classes": 10}},
        {"arguments": {"channels": 4, "layers": 3, "depth": 10}},
        {"arguments": {}},
        {"genotype": {"kind": "cells"}},
        {"genotype": None},
        {"genotype": None, "architecture": "nothing"},
        {"image_size": True},
        {"image_size": 10**9},
    ],
)
def test_a_wrong_entry_is_refused(folder, changes):
    edit_config(folder, **changes)
    with pytest.raises(ZooError):
        load(folder)


def test_a_huge_description_is_refused(folder):
    (folder / "config.json").write_text(" " * (5 << 20))
    refused(folder, "config.json", "MiB")


def test_verification_compares_the_logits(folder):
    logits = read_weights(folder).check["logits"]
    wrong = [[value + 0.1 for value in row] for row in logits]
    edit_config(folder, check={"logits": wrong})
    load(folder)
    refused(folder, "logits", verify=True)
    edit_config(folder, check={})
    refused(folder, "logits", verify=True)


def test_values_beyond_half_precision_are_not_stored(tmp_path):
    network, weights = save_tiny(tmp_path / "racl.tiny")
    before = (weights.folder / "model.safetensors").read_bytes()
    config = json.loads((weights.folder / "config.json").read_text())
    network.get_buffer("cells.0.preprocess1.op.2.running_var")[0] = 1e6
    with pytest.raises(ZooError, match=r"running_var.*65504"):
        save_weights(network, weights.folder, config, dtype=torch.float16)
    with pytest.raises(ZooError):
        save_weights(network, tmp_path / "new.tag", config, dtype=torch.float16)
    assert (weights.folder / "model.safetensors").read_bytes() == before
    assert not (tmp_path / "new.tag").exists()
    load(weights.folder, verify=True)
