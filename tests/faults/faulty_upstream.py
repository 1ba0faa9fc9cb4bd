"""An index on loopback that can fail in every way that real indexes do.

Use it healthy as well: it counts requests and can be as slow as a test needs.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote

from mirror.settings import SIMPLE_JSON
from tests.wheels import build_wheel

CAPTIVE_PORTAL_PAGE = (
    "<html><title>Welcome</title><a href='/login.html'>Log in to use this network</a></html>"
)
_CHUNK = 16 * 1024


@dataclass(slots=True)
class FaultyFile:
    """A distribution file: its content, and what its project's page claims about it."""

    content: bytes
    sha256: str = ""
    metadata: bytes | None = None
    hashes: dict[str, str] | None = None  # those of its page; None: its SHA-256
    path: str = ""  # below /packages/, which holds its BLAKE2b-256; else below /files/
    delay: float = 0.0  # seconds before each eighth of the content
    uploaded: str = ""  # the upload time on its page (PEP 700); empty: none
    length: int | None = None  # the announced length; None: the true one, 0: none is announced

    def __post_init__(self) -> None:
        self.sha256 = self.sha256 or hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request that the index has received. The names of its headers are in lower case."""

    path: str
    headers: Mapping[str, str]


@dataclass(slots=True)
class PageHttp:
    """How the index answers requests of pages, as real indexes do in part."""

    has_etags: bool = False
    is_gzip: bool = False  # if the client accepts it
    moved_to: str = ""  # pages are below this path, and redirected to there
    retry_after: str = ""  # of a 429 that the next ``limited`` requests get
    limited: int = 0


@dataclass(slots=True)
class FaultyProject:
    """A project with its files by name."""

    files: dict[str, FaultyFile] = field(default_factory=dict)
    delay: float = 0.0  # seconds before its page


class FaultyUpstream:
    """Serves ``projects``.

    ``fault`` is empty while the index is healthy, else the name of a fault or an HTTP status.
    ``chunk_delay`` is a number of seconds before each 16 KiB of any file.
    """

    def __init__(self) -> None:
        self.projects: dict[str, FaultyProject] = {}
        self.fault = ""
        self.chunk_delay = 0.0
        self.is_html_only = False  # as static indexes: relative links, no upload times
        self.request_counts: Counter[str] = Counter()
        self.requests: list[RecordedRequest] = []
        self.http = PageHttp()
        self._lock = threading.Lock()
        self._release = threading.Event()  # ends all stalled answers
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/simple/"

    def add_project(self, name: str, *versions: str, **options: object) -> None:
        """Add a project with a small file for each version. ``options``: fields of FaultyFile."""
        project = self.projects.setdefault(name, FaultyProject())
        for version in versions or ("1.0",):
            filename = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
            content = f"{name} {version} ".encode() * 500
            project.files[filename] = FaultyFile(content=content, **options)  # type: ignore[arg-type]

    def add_wheel(self, name: str, size: int) -> FaultyFile:
        """Add a project with one wheel of about ``size`` bytes that can be installed."""
        module = name.replace("-", "_")
        data = random.Random(name).randbytes(size)
        filename, content = build_wheel(
            name, "1.0", {f"{module}/data.bin": data, f"{module}/__init__.py": b""}
        )
        file = FaultyFile(content=content)
        self.projects[name] = FaultyProject(files={filename: file})
        return file

    def add_package(self, name: str, version: str = "1.0", **options: object) -> FaultyFile:
        """Add a project with a wheel at a path that holds its hash, as public indexes do."""
        filename, content = build_wheel(name, version, {f"{name.replace('-', '_')}.py": b"x = 1"})
        digest = hashlib.blake2b(content, digest_size=32).hexdigest()
        path = f"{digest[:2]}/{digest[2:4]}/{digest[4:]}/{filename}"
        file = FaultyFile(content=content, path=path, **options)  # type: ignore[arg-type]
        self.projects.setdefault(name, FaultyProject()).files[filename] = file
        return file

    def reset(self) -> None:
        """Make the index healthy and fast, and forget the requests."""
        self.fault = ""
        self.chunk_delay = 0.0
        self.http = PageHttp()
        self.requests.clear()
        self.request_counts.clear()

    def start(self) -> None:
        """Listen; on the same port as before if it has listened before."""
        upstream = self

        class Handler(_RequestHandler):
            owner = upstream

        self._release.clear()
        self._server = _Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections, and end all stalled answers."""
        self._release.set()
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    @contextmanager
    def inject_fault(self, fault: str) -> Iterator[None]:
        """Have a fault for the length of a block."""
        try:
            if fault == "refused":
                self.stop()
                yield
            elif fault == "black hole":
                self.stop()
                with self._drop_connections():
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
    def _drop_connections(self) -> Iterator[None]:
        """Listen with a full queue: the kernel then drops packets, as a black hole does."""
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self.port))
            listener.listen(0)
            fillers = []
            for _ in range(8):
                filler = socket.socket()
                filler.setblocking(False)
                with suppress(BlockingIOError):
                    filler.connect(("127.0.0.1", self.port))
                fillers.append(filler)
            try:
                yield
            finally:
                for filler in fillers:
                    filler.close()

    def record_request(self, path: str, headers: Mapping[str, str]) -> None:
        with self._lock:
            self.request_counts[path] += 1
            lowered = {name.lower(): value for name, value in headers.items()}
            self.requests.append(RecordedRequest(path, lowered))

    def takes_limited(self) -> bool:
        """Return whether this request of a page is one too many."""
        with self._lock:
            self.http.limited -= 1
            return self.http.limited >= 0

    def find_requests(self, path: str) -> list[RecordedRequest]:
        """Return the requests of a path, the oldest first."""
        return [request for request in self.requests if request.path == path]

    def find_project(self, filename: str) -> str:
        """Return the name of the project with this file."""
        name = filename.removesuffix(".metadata")
        return next((key for key, project in self.projects.items() if name in project.files), "")

    def count_downloads(self) -> dict[str, int]:
        """Return how often each requested file was requested, by path."""
        return {
            path: count
            for path, count in self.request_counts.items()
            if path.startswith(("/files/", "/packages/"))
        }

    def stall(self, seconds: float) -> None:
        """Wait, unless the fault ends before."""
        self._release.wait(seconds)


class _Server(ThreadingHTTPServer):
    allow_reuse_address = True
    daemon_threads = True
    # with the usual 5, Linux drops connections of hundreds of clients and they wait for seconds
    request_queue_size = 1024


class _RequestHandler(BaseHTTPRequestHandler):
    owner: FaultyUpstream

    def do_GET(self) -> None:
        upstream = self.owner
        upstream.record_request(self.path, dict(self.headers.items()))
        fault = upstream.fault
        if fault == "stalled":
            upstream.stall(120)
            return
        if fault == "slow":
            upstream.stall(3)
        elif fault.isdigit():
            self._send(int(fault), "text/plain", b"injected fault")
            return
        elif fault == "portal":
            self._send(200, "text/html", CAPTIVE_PORTAL_PAGE.encode())
            return
        elif fault == "garbage":
            self._send(200, SIMPLE_JSON, b'{"files": [{"filename": 7')
            return
        elif fault == "another page":
            page = {"meta": {"api-version": "1.0"}, "name": "something-else", "files": []}
            self._send(200, SIMPLE_JSON, json.dumps(page).encode())
            return
        parts = unquote(self.path).strip("/").split("/")
        if parts[0] == "packages":
            parts = ["files", upstream.find_project(parts[-1]), parts[-1]]
        project = upstream.projects.get(parts[1]) if len(parts) > 1 else None
        if project is None:
            self._send(404, "text/plain", b"no such project")
        elif parts[0] == "simple":
            if project.delay:
                upstream.stall(project.delay)
            self._send_page(parts[1], project)
        elif parts[0] == upstream.http.moved_to.strip("/"):
            self._send_page(parts[1], project, is_moved=True)
        else:
            self._send_file(project, parts[2])

    def _send_page(self, name: str, project: FaultyProject, *, is_moved: bool = False) -> None:
        http = self.owner.http
        if self.owner.takes_limited():
            self._send(429, "text/plain", b"too many", {"Retry-After": http.retry_after})
            return
        if http.moved_to and not is_moved:
            self._send(301, "text/plain", b"", {"Location": f"{http.moved_to}{name}/"})
            return
        accept = self.headers.get("Accept", "*/*")
        is_json = SIMPLE_JSON in accept or "*/*" in accept
        if self.owner.is_html_only or not is_json:
            content_type, body = "text/html", self._render_html(project, name)
        else:
            content_type, body = SIMPLE_JSON, self._render_page(name, project)
        headers = {}
        if http.has_etags:
            headers["ETag"] = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
            if self.headers.get("If-None-Match") == headers["ETag"]:
                self._send(304, content_type, b"", headers)
                return
        if http.is_gzip and "gzip" in self.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body)
        self._send(200, content_type, body, headers)

    def _render_page(self, name: str, project: FaultyProject) -> bytes:
        files = []
        for filename, file in project.files.items():
            entry: dict[str, object] = {
                "filename": filename,
                "url": f"http://127.0.0.1:{self.owner.port}/"
                + (f"packages/{file.path}" if file.path else f"files/{name}/{filename}"),
                "hashes": {"sha256": file.sha256} if file.hashes is None else file.hashes,
                "size": len(file.content),
                "core-metadata": False,
            }
            if file.uploaded:
                entry["upload-time"] = file.uploaded
            if file.metadata is not None:
                entry["core-metadata"] = {"sha256": hashlib.sha256(file.metadata).hexdigest()}
            files.append(entry)
        page = {"meta": {"api-version": "1.1"}, "name": name, "files": files}
        return json.dumps(page).encode()

    def _render_html(self, project: FaultyProject, name: str) -> bytes:
        links = "".join(
            f'<a href="../../files/{name}/{quote(filename)}#sha256={file.sha256}">{filename}</a>'
            for filename, file in project.files.items()
        )
        return f"<!DOCTYPE html><html><body>{links}</body></html>".encode()

    def _send_file(self, project: FaultyProject, filename: str) -> None:
        file = project.files.get(filename.removesuffix(".metadata"))
        if file is None or (filename.endswith(".metadata") and file.metadata is None):
            self._send(404, "text/plain", b"no such file")
            return
        content = file.content
        if filename.endswith(".metadata") and file.metadata is not None:
            content = file.metadata
        self.send_response(200)
        if file.length != 0:
            self.send_header("Content-Length", str(file.length or len(content)))
        self.end_headers()
        with suppress(BrokenPipeError, ConnectionResetError):
            chunk = max(1, len(content) // 8) if file.delay else _CHUNK
            for start in range(0, len(content), chunk):
                if delay := file.delay or self.owner.chunk_delay:
                    self.owner.stall(delay)
                self.wfile.write(content[start : start + chunk])

    def _send(
        self, status: int, content_type: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            if status != 304:
                self.send_header("Content-Length", str(len(body)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Log nothing."""
