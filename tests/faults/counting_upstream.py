"""An upstream on this machine: real wheels of random bytes, counted, as slow as a test wants."""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.wheels import build_wheel

SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"
_CHUNK = 16 * 1024


@dataclass(slots=True, kw_only=True)
class CountingUpstream:
    """A simple index. ``pause`` in seconds after each 16 KiB of a file."""

    url: str = ""
    chunk_delay: float = 0.0
    is_down: bool = False
    files: dict[str, bytes] = field(default_factory=dict)  # filename → content
    request_counts: Counter[str] = field(default_factory=Counter)

    def add_wheel(self, project: str, size: int) -> str:
        """A wheel of about ``size`` bytes that installs; its filename."""
        module = project.replace("-", "_")
        files = {
            f"{module}/data.bin": random.Random(project).randbytes(size),
            f"{module}/__init__.py": b"",
        }
        name, content = build_wheel(project, "1.0", files)
        self.files[name] = content
        return name

    def sha256(self, name: str) -> str:
        return hashlib.sha256(self.files[name]).hexdigest()

    def render_page(self, project: str) -> bytes | None:
        module = project.replace("-", "_")
        found = [name for name in self.files if name.split("-")[0] == module]
        if not found:
            return None
        told = {
            "meta": {"api-version": "1.0"},
            "name": project,
            "files": [
                {
                    "filename": name,
                    "url": f"{self.url}/files/{name}",
                    "hashes": {"sha256": self.sha256(name)},
                    "size": len(self.files[name]),
                }
                for name in found
            ],
        }
        return json.dumps(told).encode()


@contextmanager
def serve_counting_upstream() -> Iterator[CountingUpstream]:
    """Serve on loopback for the length of a block."""
    here = CountingUpstream()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            here.request_counts[self.path] += 1
            kind, _, name = self.path.strip("/").partition("/")
            if here.is_down:
                return self._answer(503, b"away", "text/plain")
            if kind == "simple":
                body = here.render_page(name.strip("/"))
                return self._answer(200 if body else 404, body or b"no such project", SIMPLE_JSON)
            if name not in here.files:
                return self._answer(404, b"no such file", "text/plain")
            return self._answer(200, here.files[name], "application/octet-stream", here.chunk_delay)

        def _answer(self, status: int, body: bytes, kind: str, pause: float = 0.0) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                for begin in range(0, len(body), _CHUNK):
                    self.wfile.write(body[begin : begin + _CHUNK])
                    if pause:
                        time.sleep(pause)
            except OSError:  # the reader was killed
                self.close_connection = True

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        here.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield here
        server.shutdown()
