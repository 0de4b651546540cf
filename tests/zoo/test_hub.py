"""The Hub's own client against a server on loopback, each in a process of its own.

The client reads its settings when it is imported, so every call is a process; only those that
load a model import torch.
"""

import hashlib
import json
import signal
from pathlib import Path

import pytest
from helpers.mini_hub import TOKEN, Client, Fault, mini_hub
from helpers.tiny_weights import save_tiny

TENSORS = "model.safetensors"
LOAD = """
import sys
from robnet_zoo import create_model
from robnet_zoo.runtime import console
raise SystemExit(console.run(lambda: print(type(create_model(sys.argv[1], verify=True)).__name__)))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The two files of a weights folder."""
    _, weights = save_tiny(tmp_path_factory.mktemp("weights") / "racl.tiny")
    return {name: (weights.folder / name).read_bytes() for name in ("config.json", TENSORS)}


@pytest.fixture
def hub(files):
    """A Hub that holds org/racl at one commit."""
    with mini_hub() as server:
        server.repositories["org/racl"].commit(files)
        yield server


@pytest.fixture
def client(hub, tmp_path):
    return Client(hub, tmp_path)


def same(folder, files):
    return all((Path(folder) / name).read_bytes() == content for name, content in files.items())


def test_first_download_then_cache_then_offline(hub, client, files):
    folder = client.run("org/racl")
    assert same(folder, files)
    assert len(hub.asked("GET")) == 2
    assert client.run("org/racl") == folder
    assert len(hub.asked("GET")) == 2
    asked = len(hub.requests)
    assert client.run("org/racl", HF_HUB_OFFLINE="1") == folder
    commit = hub.repositories["org/racl"].newest
    assert client.run(f"org/racl@{commit}") == folder
    assert len(hub.requests) == asked  # neither asked the server anything


def test_a_fetched_model_computes_its_stored_logits(client):
    assert client.run("hf-hub:org/racl", LOAD) == "Network"
    assert client.run("hf-hub:org/racl", LOAD, HF_HUB_OFFLINE="1") == "Network"


def test_the_revision_asked_for_is_the_one_used(hub, client, files):
    repository = hub.repositories["org/racl"]
    first = repository.newest
    repository.commit({"config.json": files["config.json"] + b"\n"})
    assert same(client.run(f"org/racl@{first}"), files)
    assert not same(client.run("org/racl"), files)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("org/nothing", ("'org/nothing'", "none of that name", "hf auth login")),
        ("org/racl@v9", ("'org/racl' at v9", "no such revision", "leave it out")),
        ("org/racl@" + "0" * 40, ("0" * 40, "no such revision")),
        ("org/empty", ("'org/empty'", "config.json", "no weights of this zoo")),
        ("a/b/c", ("'a/b/c'", "org/name")),
    ],
)
def test_what_is_not_there_is_told(hub, client, name, words):
    hub.repositories["org/empty"].commit({"README.md": b"nothing else"})
    line = client.fail(name)
    for word in (*words, str(client.cache), hub.url):
        assert word in line


def test_a_private_repository_needs_a_token(hub, client, files):
    hub.repositories["org/racl"].private = True
    assert "hf auth login" in client.fail("org/racl")
    assert "hf auth login" in client.fail("org/racl", HF_TOKEN="hf_wrong")
    assert same(client.run("org/racl", HF_TOKEN=TOKEN), files)


def test_a_repository_of_another_project_is_refused_before_its_tensors_are_fetched(hub, client):
    hub.repositories["org/bert"].commit({"config.json": b'{"model_type": "bert"}', TENSORS: b"x"})
    assert "holds no weights of this zoo" in client.fail("org/bert")
    assert hub.asked("GET", TENSORS) == []


def test_no_answer_is_told_and_a_cached_copy_used(hub, client, files):
    """After a 501; statuses that may pass are tried again by the client for 23 seconds."""
    hub.faults.append(Fault("HEAD", "/", status=501, times=100))
    line = client.fail("org/racl")
    assert "no answer" in line
    assert "local-dir:" in line
    hub.faults.clear()
    client.run("org/racl")
    hub.faults.append(Fault("HEAD", "/", status=501, times=100))
    assert same(client.run("org/racl"), files)


@pytest.mark.parametrize(
    ("settings", "state"),
    [
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "no connection"),
        ({"HF_ENDPOINT": "http://nowhere.invalid"}, "no connection"),
    ],
)
def test_without_a_network_it_is_said_how_to_get_the_weights(client, settings, state):
    """At once: the client alone tries six times, and says so each time."""
    process = client.start("org/racl", **settings)
    out, err = process.communicate()
    assert (process.returncode, out, err.count("\n")) == (2, "", 1)
    assert state in err and str(client.cache) in err
    assert "robnet-zoo download hf-hub:org/racl --out DIR" in err and "local-dir:DIR" in err


def test_what_is_cached_needs_no_network(hub, client, files):
    folder = client.run("org/racl")
    assert client.run("org/racl", HF_ENDPOINT="http://127.0.0.1:9") == folder
    Path(folder, TENSORS).unlink()
    assert "no connection" in client.fail("org/racl", HF_ENDPOINT="http://127.0.0.1:9")
    assert same(client.run("org/racl"), files)


def test_a_passing_server_error_is_overcome(hub, client, files):
    hub.faults += [Fault("HEAD", "config.json", status=500), Fault("GET", TENSORS, status=500)]
    assert same(client.run("org/racl"), files)


def test_a_connection_cut_half_way_is_overcome(hub, client, files):
    hub.faults.append(Fault("GET", TENSORS, cut=len(files[TENSORS]) // 2))
    assert same(client.run("org/racl"), files)
    assert len(hub.asked("GET", TENSORS)) == 2


def test_a_large_download_goes_on_where_it_was_cut(hub, client, files):
    """The client keeps whole pieces of 10 MiB, and asks for what is behind them."""
    large = {TENSORS: bytes(24 << 20)}
    config = json.loads(files["config.json"])
    config |= {"sha256": hashlib.sha256(large[TENSORS]).hexdigest(), "size_bytes": 24 << 20}
    large["config.json"] = json.dumps(config).encode()
    hub.repositories["org/large"].commit(large)
    hub.faults.append(Fault("GET", TENSORS, cut=15 << 20))
    assert same(client.run("org/large"), large)
    assert [asked for _, _, asked in hub.asked("GET", TENSORS)] == [None, f"bytes={10 << 20}-"]


@pytest.mark.slow
def test_a_connection_that_keeps_breaking_is_told(hub, client):
    hub.faults.append(Fault("GET", TENSORS, cut=0, times=100))
    assert "the transfer failed" in client.fail("org/racl")
    assert client.held() == ["config.json"]


@pytest.mark.parametrize("name", ["config.json", TENSORS])
def test_altered_bytes_are_fetched_once_more(hub, client, files, name):
    hub.faults.append(Fault("GET", name, alter=True))
    assert same(client.run("org/racl"), files)


@pytest.mark.parametrize("name", ["config.json", TENSORS])
def test_bytes_altered_twice_are_refused_and_not_kept(hub, client, name):
    hub.faults.append(Fault("GET", name, alter=True, times=2))
    line = client.fail("org/racl")
    assert "altered" in line
    assert client.held() == []
    assert not list(client.cache.glob("models--*/blobs/*"))


def test_a_cache_altered_on_disk_is_mended_or_refused(hub, client, files):
    folder = Path(client.run("org/racl"))
    (folder / TENSORS).write_bytes(bytes(len(files[TENSORS])))
    assert same(client.run("org/racl"), files)
    (folder / TENSORS).write_bytes(bytes(len(files[TENSORS])))
    assert "HF_HUB_OFFLINE" in client.fail("org/racl", HF_HUB_OFFLINE="1")
    assert client.held() == []


def test_two_processes_at_once_get_the_same_files(hub, client, files):
    pair = [client.start("org/racl") for _ in range(2)]
    ended = [(process.communicate(), process.returncode) for process in pair]
    assert [code for _, code in ended] == [0, 0], ended
    assert len({out for (out, _), _ in ended}) == 1
    assert same(ended[0][0][0].strip(), files)


def test_a_killed_download_leaves_nothing_in_the_way(hub, client, files):
    hub.faults.append(Fault("GET", TENSORS, cut=100))
    process = client.start("org/racl")
    while not hub.asked("GET", TENSORS):
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert same(client.run("org/racl"), files)
