"""A PostgreSQL server of a test's own, where PostgreSQL is installed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PASSWORD = "open-sesame"


def program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs; without it the test is skipped."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    path = shutil.which(name) or (str(debian[-1]) if debian else None)
    if path is None:
        pytest.skip(f"PostgreSQL's {name} is not installed")
    return path


@contextmanager
def server() -> Iterator[str]:
    """Yield the URL of an empty database; its server listens on a socket in a folder alone."""
    pytest.importorskip("psycopg", reason="the driver psycopg is not installed")
    initdb, pg_ctl = program("initdb"), program("pg_ctl")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # sockets' paths must be short
    user = _other_user() if os.geteuid() == 0 else None  # PostgreSQL does not run as root
    if user:
        shutil.chown(folder, user)
    secret, data = folder / "secret", folder / "data"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)

    def run(*command: str) -> None:
        done = subprocess.run(
            command, check=False, user=user, cwd=folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr

    login = ["--auth=scram-sha-256", "--username=zoo", f"--pwfile={secret}"]
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    try:
        run(initdb, "--pgdata", str(data), "--no-sync", *login)
        log = str(folder / "log")
        run(pg_ctl, "--pgdata", str(data), "--wait", "--log", log, "-o", options, "start")
        try:
            yield f"postgresql+psycopg://zoo:{PASSWORD}@/postgres?host={folder}"
        finally:
            run(pg_ctl, "--pgdata", str(data), "--mode", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _other_user() -> str:
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"
