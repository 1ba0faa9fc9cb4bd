"""nginx with the mirror's configuration in front of stand-ins for devpi and the cache."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

from mirror import nginx, volume
from mirror.core.wait import Deadline, wait_until
from mirror.local.processes import find_free_port
from mirror.local.services import find_nginx


class RecordingServer:
    """Answers each request with its name, and records the request line and headers."""

    def __init__(self, name: str) -> None:
        self.requests: list[tuple[str, dict[str, str]]] = []
        recording = self

        class OriginHandler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                headers = {key.lower(): value for key, value in self.headers.items()}
                recording.requests.append((self.path, headers))
                self.send_response(200)
                self.send_header("Content-Length", str(len(name)))
                self.end_headers()
                self.wfile.write(name.encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Log nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), OriginHandler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@dataclass(frozen=True, slots=True)
class NginxStand:
    """A running nginx: ``data`` is the data folder, ``url`` its root."""

    data: Path
    url: str
    devpi: RecordingServer = field(default_factory=lambda: RecordingServer("devpi"))
    cache: RecordingServer = field(default_factory=lambda: RecordingServer("cache"))

    def get(self, path: str, **headers: str) -> httpx.Response:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return httpx.get(self.url + path, headers=named, trust_env=False, timeout=30)

    def publish(self, project: str, json: str, html: str) -> None:
        """Store a fresh page in both forms."""
        for kind, text in (("json", json), ("html", html)):
            (self.data / volume.PUBLIC / volume.FRESH / f"{project}.{kind}").write_text(text)


@contextmanager
def run_nginx(
    data: Path,
    scratch: Path,
    cache_port: int | None = None,
    *,
    allowed_hosts: Sequence[str] = (),
) -> Iterator[NginxStand]:
    """Run nginx for the length of a block; ``cache_port`` is that of a real cache."""
    for folder in (*volume.PUBLIC_FOLDERS, f"../{volume.PRIVATE}"):
        (data / volume.PUBLIC / folder).mkdir(parents=True, exist_ok=True)
    scratch.mkdir(parents=True, exist_ok=True)
    port, program = find_free_port(), find_nginx()
    assert program is not None
    stand = NginxStand(data, f"http://127.0.0.1:{port}")
    config = scratch / "nginx.conf"
    config.write_text(
        nginx.render_config(
            listen=f"127.0.0.1:{port}",
            devpi_port=stand.devpi.server.server_port,
            cache_port=cache_port or stand.cache.server.server_port,
            data=data,
            scratch=scratch,
            user="root",
            allowed_hosts=allowed_hosts,
        )
    )
    with subprocess.Popen(
        nginx.build_argv(program, scratch, config), stderr=subprocess.PIPE, text=True
    ) as process:

        def answers() -> bool:
            assert process.poll() is None, process.stderr and process.stderr.read()
            try:
                return stand.get("/+mirror/requests").is_success
            except httpx.TransportError:
                return False

        try:
            wait_until(answers, deadline=Deadline.after(20), what="nginx answers")
            stand.cache.requests.clear()
            yield stand
        finally:
            process.terminate()
            process.wait(20)
            stand.devpi.close()
            stand.cache.close()
