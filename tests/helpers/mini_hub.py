"""A server on loopback that speaks the Hub's routes, for the Hub's own client to talk to.

It keeps repositories in memory, asks for TOKEN before it changes anything, and can be told to
fail: every entry of `faults` spoils one answer whose method and path fit, in turn.
"""

import base64
import hashlib
import json
import os
import re
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread

import robnet_zoo
from helpers.processes import Program

ROOT = Path(robnet_zoo.__file__).parents[1]
TOKEN = "hf_test"
LFS_SIZE = 10_000  # bytes; larger files go through the LFS routes, as on the Hub
FETCH = """
import sys
from robnet_zoo.runtime import console
from robnet_zoo.zoo.hub import fetch
raise SystemExit(console.run(lambda: print(fetch(sys.argv[1]))))
"""


@dataclass
class Fault:
    """What happens to one answer: another status, a cut after some bytes, or altered bytes."""

    method: str
    path: str
    status: int = 200
    cut: int | None = None
    alter: bool = False
    times: int = 1


@dataclass
class Repository:
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: bool = False
    sdk: str | None = None

    @property
    def newest(self):
        return list(self.commits)[-1]

    def commit(self, files):
        """Put files, None for one that goes, on top of the newest commit; return the new hash."""
        before = self.commits[self.newest] if self.commits else {}
        both = {**before, **files}
        state = {path: content for path, content in both.items() if content is not None}
        text = repr((len(self.commits), sorted(state.items())))
        name = hashlib.sha1(text.encode()).hexdigest()
        self.commits[name] = state
        return name


class MiniHub(ThreadingHTTPServer):
    """The server; `requests` lists (method, path, range) of what it was asked.

    `repositories` holds models by "org/name", and Spaces by "spaces/org/name".
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories = defaultdict(Repository)
        self.requests, self.faults, self.lock = [], [], Lock()
        self.stored = {}  # contents of large files by sha256

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def asked(self, method, word=""):
        return [entry for entry in self.requests if entry[0] == method and word in entry[1]]

    def fault_for(self, method, path):
        with self.lock:
            for fault in self.faults:
                if fault.times and fault.method == method and fault.path in path:
                    fault.times -= 1
                    return fault
        return Fault(method, path)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        routes = {"/api/": self.describe, "/stored/": self.stored}
        found = [route for start, route in routes.items() if self.path.startswith(start)]
        self.answer(found[0] if found else self.resolve)

    def do_POST(self):
        self.answer(self.change)

    def do_PUT(self):
        self.answer(self.store)

    def answer(self, respond):
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = self.headers.get("Range")
        self.server.requests.append((self.command, self.path, asked))
        fault = self.server.fault_for(self.command, self.path)
        if fault.status != 200:
            return self.send(fault.status)
        with self.server.lock:
            status, content, headers = respond()
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked else 0
        if fault.alter:
            content = content[:-1] + bytes([content[-1] ^ 1])
        return self.send(206 if start else status, content[start:], headers, fault.cut)

    def send(self, status, content=b"", headers=None, cut=None):
        self.send_response(status)
        for name, value in {"Content-Length": len(content), **(headers or {})}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[:cut])
        if cut is not None:
            self.close_connection = True

    def json(self, value, status=200):
        return status, json.dumps(value).encode(), {"Content-Type": "application/json"}

    def missing(self, what, status=404):
        return status, b"", {"X-Error-Code": what, "X-Error-Message": what}

    def allowed(self, name):
        private = name in self.server.repositories and self.server.repositories[name].private
        return not private or self.logged_in()

    def logged_in(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def resolve(self):
        """GET and HEAD /ORG/NAME/resolve/REVISION/FILE; large files are redirected, as to a CDN."""
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/([^?]+)", self.path)
        name, revision, path = match.groups()
        if name not in self.server.repositories or not self.allowed(name):
            return self.missing("RepoNotFound", 404 if self.allowed(name) else 401)
        repository = self.server.repositories[name]
        commit = repository.newest if revision == "main" else revision
        if commit not in repository.commits:
            return self.missing("RevisionNotFound")
        if path not in repository.commits[commit]:
            status, content, headers = self.missing("EntryNotFound")
            return status, content, {**headers, "X-Repo-Commit": commit}
        content = repository.commits[commit][path]
        etag = hashlib.sha256(content).hexdigest()
        if len(content) <= LFS_SIZE:
            return 200, content, {"X-Repo-Commit": commit, "ETag": f'"{etag}"'}
        linked = {"X-Linked-Size": len(content), "X-Linked-ETag": f'"{etag}"'}
        self.server.stored[etag] = content
        place = f"http://localhost:{self.server.server_port}/stored/{etag}/{path}"
        return 302, b"", {"X-Repo-Commit": commit, "ETag": '"other"', "Location": place, **linked}

    def stored(self):
        """GET and HEAD /stored/SHA256/FILE: the contents of large files."""
        return 200, self.server.stored[self.path.split("/")[2]], {}

    def describe(self):
        """GET /api/models/ORG/NAME, or of spaces: the newest commit and its files."""
        route = r"/api/(?:models/|(spaces/))([^/]+/[^/?]+)(/revision/main|/tree/main)?(?:\?.*)?"
        kind, repo, place = re.fullmatch(route, self.path).groups("")
        name = kind + repo
        if name not in self.server.repositories or not self.allowed(name):
            return self.missing("RepoNotFound")
        repository = self.server.repositories[name]
        files = repository.commits[repository.newest] if repository.commits else {}
        siblings = [self.sibling(path, content) for path, content in files.items()]
        if place == "/tree/main":
            names = [{"path": entry["rfilename"], "oid": entry["blobId"]} for entry in siblings]
            return self.json([{"type": "file", "size": 0, **entry} for entry in names])
        sha = repository.newest if repository.commits else "0" * 40
        return self.json({"id": repo, "sha": sha, "siblings": siblings})

    def sibling(self, path, content):
        entry = {"rfilename": path, "size": len(content)}
        entry["blobId"] = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        if len(content) > LFS_SIZE:
            sha256 = hashlib.sha256(content).hexdigest()
            entry |= {
                "blobId": "0" * 40,
                "lfs": {"sha256": sha256, "size": len(content), "pointerSize": 130},
            }
        return entry

    def change(self):
        """POST: everything that a push consists of, but the LFS contents themselves."""
        if not self.logged_in():
            return self.missing("", 401)
        if self.path == "/api/repos/create":
            asked = json.loads(self.body)
            spaces = "spaces/" if asked.get("type") == "space" else ""
            name = f"{spaces}{asked['organization']}/{asked['name']}"
            known = name in self.server.repositories
            self.server.repositories[name].sdk = asked.get("sdk")
            return self.json({"url": f"{self.server.url}/{name}"}, 409 if known else 200)
        if self.path == "/api/validate-yaml":
            return self.json({"warnings": [], "errors": []})
        if "/preupload/" in self.path:
            files = json.loads(self.body)["files"]
            return self.json({"files": [self.mode(file) for file in files]})
        if self.path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(self.body)["objects"]
            return self.json({"transfer": "basic", "objects": [self.place(o) for o in objects]})
        name = re.fullmatch(r"/api/(?:models/)?(.+)/commit/main", self.path)[1]
        commit = self.server.repositories[name].commit(dict(self.committed()))
        url = f"{self.server.url}/{name}/commit/{commit}"
        return self.json({"success": True, "commitOid": commit, "commitUrl": url})

    def mode(self, file):
        mode = "lfs" if file["size"] > LFS_SIZE else "regular"
        return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}

    def place(self, entry):
        href = f"{self.server.url}/upload/{entry['oid']}"
        return {**entry, "actions": {"upload": {"href": href}}}

    def committed(self):
        for line in self.body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                yield value["path"], base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                yield value["path"], self.server.stored[value["oid"]]
            elif entry["key"] == "deletedFile":
                yield value["path"], None

    def store(self):
        """PUT /upload/SHA256."""
        oid = self.path.rpartition("/")[2]
        if hashlib.sha256(self.body).hexdigest() != oid:
            return 422, b"", {}
        self.server.stored[oid] = self.body
        return 200, b"", {}


@contextmanager
def mini_hub():
    """Yield a running server."""
    server = MiniHub()
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Client:
    """Runs code in processes, with a cache of its own and the package of `root`."""

    def __init__(self, hub, home, root=ROOT):
        self.cache, self.root = home / "hub", root
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("HF_")},
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }

    def start(self, name, code=FETCH, **settings):
        return Program(["-c", code, name], cwd=self.root, env=self.environment | settings)

    def everything(self, name, code=FETCH, **settings):
        """Return what a call prints; it must succeed."""
        process = self.start(name, code, **settings)
        out, err = process.communicate()
        assert process.returncode == 0, err
        return out

    def run(self, name, code=FETCH, **settings):
        """Return the last line of what a call prints; it must succeed."""
        return self.everything(name, code, **settings).splitlines()[-1]

    def fail(self, name, code=FETCH, **settings):
        """Return the one line of complaint of a call that must fail without a traceback."""
        process = self.start(name, code, **settings)
        out, err = process.communicate()
        assert process.returncode == 2, err
        assert out == ""
        assert "Traceback" not in err
        (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
        return line

    def held(self):
        """Return the cached files' names; links that lead nowhere count for nothing."""
        places = self.cache.glob("models--*/snapshots/*/*")
        return sorted(path.name for path in places if path.exists())
