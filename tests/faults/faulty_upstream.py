"""An upstream on loopback that can be unwell in every way that one is met with."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"
CAPTIVE_PORTAL_PAGE = (
    "<html><title>Welcome</title><a href='/login.html'>Log in to use this network</a></html>"
)


@dataclass(slots=True)
class FaultyFile:
    """A distribution file: what is sent for it, and what its page says of it."""

    content: bytes
    sha256: str = ""
    metadata: bytes | None = None
    delay: float = 0.0  # seconds between its blocks
    length: int | None = None  # announced; None: the true one

    def __post_init__(self) -> None:
        self.sha256 = self.sha256 or hashlib.sha256(self.content).hexdigest()


@dataclass(slots=True)
class FaultyProject:
    """Its files by name."""

    files: dict[str, FaultyFile] = field(default_factory=dict)
    delay: float = 0.0  # seconds before its page


class FaultyUpstream:
    """Serves ``projects``. ``fault`` is "" while it is well, else a word or a status."""

    def __init__(self) -> None:
        self.projects: dict[str, FaultyProject] = {}
        self.fault = ""
        self.request_counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._release = threading.Event()  # ends what is stalled
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/simple/"

    def add_project(self, project: str, *versions: str, **words: object) -> None:
        """A project with a small wheel of each version."""
        made = self.projects.setdefault(project, FaultyProject())
        for version in versions or ("1.0",):
            name = f"{project.replace('-', '_')}-{version}-py3-none-any.whl"
            content = f"{project} {version} ".encode() * 500
            made.files[name] = FaultyFile(content=content, **words)  # type: ignore[arg-type]

    def start(self) -> None:
        """Listen, on the port of before."""
        upstream = self

        class Handler(_Handler):
            owner = upstream

        ThreadingHTTPServer.allow_reuse_address = True
        self._release.clear()
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections, and let go what was stalled."""
        self._release.set()
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    @contextmanager
    def inject_fault(self, fault: str) -> Iterator[None]:
        """For a while."""
        try:
            if fault == "refused":
                self.stop()
                yield
            elif fault == "black hole":
                self.stop()
                with self._full_listener():
                    yield
            else:
                self.fault = fault
                yield
        finally:
            self.fault = ""
            if fault in {"refused", "black hole"}:
                self.start()
            else:
                self._release.set()
                self._release = threading.Event()

    @contextmanager
    def _full_listener(self) -> Iterator[None]:
        """A port whose queue is full: the kernel drops what comes, as a black hole does."""
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self.port))
            listener.listen(0)
            fillers = []
            for _ in range(8):
                one = socket.socket()
                one.setblocking(False)
                with suppress(BlockingIOError):
                    one.connect(("127.0.0.1", self.port))
                fillers.append(one)
            try:
                yield
            finally:
                for one in fillers:
                    one.close()

    def count_request(self, path: str) -> None:
        with self._lock:
            self.request_counts[path] += 1

    def stall(self, seconds: float) -> None:
        self._release.wait(seconds)


class _Handler(BaseHTTPRequestHandler):
    owner: FaultyUpstream

    def do_GET(self) -> None:
        upstream = self.owner
        upstream.count_request(self.path)
        fault = upstream.fault
        if fault == "stalled":
            upstream.stall(120)
            return
        if fault == "slow":
            upstream.stall(3)
        elif fault.isdigit():
            self._send(int(fault), "text/plain", b"unwell")
            return
        elif fault == "portal":
            self._send(200, "text/html", CAPTIVE_PORTAL_PAGE.encode())
            return
        elif fault == "garbage":
            self._send(200, SIMPLE_JSON, b'{"files": [{"filename": 7')
            return
        elif fault == "another page":
            body = {"meta": {"api-version": "1.0"}, "name": "something-else", "files": []}
            self._send(200, SIMPLE_JSON, json.dumps(body).encode())
            return
        parts = unquote(self.path).strip("/").split("/")
        project = upstream.projects.get(parts[1]) if len(parts) > 1 else None
        if project is None:
            self._send(404, "text/plain", b"no such project")
        elif parts[0] == "simple":
            if project.delay:
                upstream.stall(project.delay)
            self._send(200, SIMPLE_JSON, self._page(parts[1], project))
        else:
            self._file(project, parts[2])

    def _page(self, name: str, project: FaultyProject) -> bytes:
        files = []
        for filename, one in project.files.items():
            told: dict[str, object] = {
                "filename": filename,
                "url": f"http://127.0.0.1:{self.owner.port}/files/{name}/{filename}",
                "hashes": {"sha256": one.sha256},
                "core-metadata": False,
            }
            if one.metadata is not None:
                told["core-metadata"] = {"sha256": hashlib.sha256(one.metadata).hexdigest()}
            files.append(told)
        body = {"meta": {"api-version": "1.1"}, "name": name, "files": files}
        return json.dumps(body).encode()

    def _file(self, project: FaultyProject, filename: str) -> None:
        one = project.files.get(filename.removesuffix(".metadata"))
        if one is None or (filename.endswith(".metadata") and one.metadata is None):
            self._send(404, "text/plain", b"no such file")
            return
        content = one.content
        if filename.endswith(".metadata") and one.metadata is not None:
            content = one.metadata
        self.send_response(200)
        self.send_header("Content-Length", str(one.length or len(content)))
        self.end_headers()
        with suppress(BrokenPipeError, ConnectionResetError):
            step = max(1, len(content) // 8)
            for start in range(0, len(content), step):
                if one.delay:
                    self.owner.stall(one.delay)
                self.wfile.write(content[start : start + step])

    def _send(self, status: int, kind: str, body: bytes) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Quiet."""
