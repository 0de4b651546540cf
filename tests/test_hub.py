import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_weights import save_tiny

import robnet_zoo

ROOT = Path(robnet_zoo.__file__).parents[1]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path):
    """A Hub cache that holds org/racl at one commit, laid out as the Hub's client does."""
    repository = tmp_path / "models--org--racl"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    save_tiny(repository / "snapshots" / COMMIT)
    return tmp_path


def load_offline(cache, name):
    """Load in a process of its own: the client reads its settings when it is imported."""
    code = f"""
from robnet_zoo import console, create_model
raise SystemExit(console.run(lambda: print(type(create_model({name!r}, verify=True)).__name__)))
"""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cache)}
    call = [sys.executable, "-c", code]
    return subprocess.run(
        call, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", ["hf-hub:org/racl", f"hf-hub:org/racl@{COMMIT}"])
def test_cached_weights_load_offline(cache, name):
    done = load_offline(cache, name)
    assert done.stdout.strip() == "Network", done.stderr


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hf-hub:org/other", ("org/other", "no sound copy is cached", "local-dir:")),
        ("hf-hub:org/racl@v2", ("org/racl@v2", "no sound copy is cached")),
        ("hf-hub:a/b/c", ("a/b/c", "hf-hub:org/name")),
    ],
)
def test_what_cannot_be_fetched_is_told(cache, name, words):
    done = load_offline(cache, name)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert all(word in done.stderr for word in words)


def test_altered_cached_weights_are_removed_and_refused(cache):
    path = cache / "models--org--racl" / "snapshots" / COMMIT / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    done = load_offline(cache, "hf-hub:org/racl")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert not path.exists()
