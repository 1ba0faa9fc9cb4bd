"""The servers that are measured, each on loopback with folders of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil

from mirror import devpi
from mirror.client import IndexClient
from mirror.core.wait import Deadline
from mirror.local.mirror import LocalMirror
from mirror.local.processes import find_free_port
from mirror.settings import SIMPLE_JSON, ServerSettings
from mirror.store.prepare import prepare_server
from tests.bench.recorded_index import RecordedProject

_CONF = """daemon off; user {user}; worker_processes 2; pid {root}/pid; error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
  {temporary}
  access_log {log}; sendfile on; tcp_nopush on; keepalive_requests 10000;
  default_type application/octet-stream;
  map $http_accept $kind {{ default html; ~simple.v1.json json; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096; root {root};
    location /simple/ {{
      types {{ {json} json; text/html html; }} charset utf-8; gzip_static {gzip}; gzip_vary on;
      try_files $uri/index.$kind $uri/index.json =404;
    }}
  }}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkServer:
    """A server that runs: ``simple`` is the path of its index; ``log`` its access log, if any."""

    name: str
    port: int
    index_path: str
    processes: Callable[[], Sequence[psutil.Process]]
    access_log: Path | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def cpu_seconds(self) -> float:
        """CPU seconds of all its processes since they started."""
        times = [one.cpu_times() for one in self.processes()]
        return sum(one.user + one.system for one in times)

    def memory_bytes(self) -> int:
        """Bytes that its processes hold, shared ones counted once (PSS)."""
        return sum(one.memory_full_info().pss for one in self.processes())

    def requested_paths(self) -> list[str]:
        """The paths that were asked of it, in order."""
        assert self.access_log is not None
        return [line.split(" ")[6] for line in self.access_log.read_text().splitlines()]


@contextmanager
def serve_upstream(folder: Path, record: Sequence[RecordedProject]) -> Iterator[BenchmarkServer]:
    """The upstream: the recorded bodies, their file URLs turned to itself."""
    port = find_free_port()
    for one in record:
        host, _, path = one.url.partition("/packages/")
        page = folder / "simple" / one.name / "index.json"
        page.parent.mkdir(parents=True)
        body = one.page.read_bytes()
        page.write_bytes(body.replace(host.encode(), f"http://127.0.0.1:{port}".encode()))
        target = folder / "packages" / path
        target.parent.mkdir(parents=True)
        os.link(one.file, target)
        metadata = one.file.with_name(f"{one.file.name}.metadata")
        if metadata.exists():
            os.link(metadata, target.with_name(f"{target.name}.metadata"))
    with _nginx("upstream", folder, port, gzip="off", log=True) as served:
        yield served


@contextmanager
def serve_static_nginx(
    folder: Path, mirror_data: Path, record: Sequence[RecordedProject]
) -> Iterator[BenchmarkServer]:
    """nginx with static files alone: the bodies and the encoding that the mirror serves."""
    for one in record:
        page = folder / "simple" / one.name
        page.mkdir(parents=True)
        for kind in ("json", "html"):
            for suffix in ("", ".gz"):
                os.link(
                    mirror_data / f"public/pages/{one.name}.{kind}{suffix}",
                    page / f"index.{kind}{suffix}",
                )
        target = folder / f"root/pypi/+f/{one.name}/{one.sha256}/{one.file.name}"
        target.parent.mkdir(parents=True)
        os.link(one.file, target)
    with _nginx("nginx, static files", folder, find_free_port(), gzip="on", log=False) as served:
        yield served


@contextmanager
def serve_mirror(home: Path, upstream: BenchmarkServer) -> Iterator[BenchmarkServer]:
    """This project: what `mirror up --local` starts."""
    local = LocalMirror(home)
    port = find_free_port()
    settings = {"port": port, "upstream": f"http://{upstream.address}/simple/"}
    local.up(overrides=settings, deadline=Deadline.after(180))
    try:
        pids = [one.pid for one in local.services.processes.read_records().values()]
        yield BenchmarkServer(
            name="this mirror",
            port=port,
            index_path="/workloads/stable/+simple/",
            processes=lambda: _families(pids),
        )
    finally:
        local.down(purge=False)


@contextmanager
def serve_devpi(folder: Path, upstream: BenchmarkServer) -> Iterator[BenchmarkServer]:
    """devpi-server with the settings that suit it best, and nothing before it."""
    for name in ("root-password", "secretfile"):
        path = folder / "secrets" / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text("a-secret-of-the-benchmark-that-is-long-enough-for-devpi-1234567890")
        path.chmod(0o600)
    layout = devpi.DevpiPaths(serverdir=folder / "devpi", run_dir=folder / "run")
    program = str(Path(sys.executable).with_name("devpi-init"))
    prepare_server(
        serverdir=folder / "devpi",
        run_dir=folder / "run",
        secrets=folder / "secrets",
        program=program,
    )
    port = find_free_port()
    argv = devpi.build_server_argv(
        sys.executable, layout, ServerSettings(), port=port, markers=folder / "marks"
    )
    with _program("devpi alone", argv, port, "/workloads/stable/+simple/", folder) as served:
        with IndexClient(f"http://{served.address}", Deadline.after(60)) as client:
            client.login("root", (folder / "secrets/root-password").read_text())
            client.ensure_indexes(f"http://{upstream.address}/simple/", behind_proxy=False)
        yield served


@contextmanager
def serve_proxpi(
    folder: Path, upstream: BenchmarkServer, python: Path
) -> Iterator[BenchmarkServer]:
    """proxpi as its own image runs it: gunicorn with threads."""
    port = find_free_port()
    (folder / "cache").mkdir(parents=True)
    env = {
        "PROXPI_INDEX_URL": f"http://{upstream.address}/simple/",
        "PROXPI_CACHE_DIR": str(folder / "cache"),
        "PROXPI_CACHE_SIZE": str(5 * 1024**3),
        "PROXPI_DOWNLOAD_TIMEOUT": "60",
    }
    argv = (
        *(str(python), "-m", "gunicorn", "--threads", "12", "--bind", f"127.0.0.1:{port}"),
        *("--timeout", "120", "proxpi.server:app"),
    )
    with _program("proxpi", argv, port, "/index/", folder, env) as served:
        yield served


def find_file_paths(
    served: BenchmarkServer, record: Sequence[RecordedProject]
) -> list[tuple[str, str]]:
    """The path of each recorded file as the server's pages name it, and its sha256."""
    found = []
    with httpx.Client(timeout=120, trust_env=False, headers={"Accept": SIMPLE_JSON}) as client:
        for one in record:
            url = f"http://{served.address}{served.index_path}{one.name}/"
            page = client.get(url).raise_for_status()
            (link,) = (
                told["url"] for told in page.json()["files"] if told["filename"] == one.file.name
            )
            found.append((urlsplit(str(page.url.join(link))).path, one.sha256))
    return found


@contextmanager
def _nginx(name: str, root: Path, port: int, *, gzip: str, log: bool) -> Iterator[BenchmarkServer]:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    config = root / "nginx.conf"
    access = root / "access.log"
    text = _CONF.format(
        user="root" if os.getuid() == 0 else "nobody",
        root=root,
        temporary=" ".join(f"{kind}_temp_path {root}/tmp-{kind};" for kind in kinds),
        log=access if log else "off",
        port=port,
        json=SIMPLE_JSON,
        gzip=gzip,
    )
    config.write_text(text)
    argv = ("nginx", "-p", str(root), "-c", str(config), "-e", "stderr")
    with _program(name, argv, port, "/simple/", root) as served:
        yield BenchmarkServer(
            name=name,
            port=port,
            index_path="/simple/",
            processes=served.processes,
            access_log=access if log else None,
        )


@contextmanager
def _program(
    name: str,
    argv: Sequence[str],
    port: int,
    simple: str,
    folder: Path,
    env: dict[str, str] | None = None,
) -> Iterator[BenchmarkServer]:
    """Start it, wait until it listens, end it and its children."""
    with (folder / "output.log").open("wb") as output:
        process = subprocess.Popen(
            argv, stdout=output, stderr=output, env={**os.environ, **(env or {})}
        )
    try:
        until = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                text = (folder / "output.log").read_text()[-2000:]
                assert process.poll() is None and time.monotonic() < until, f"{name}: {text}"
                time.sleep(0.2)
        yield BenchmarkServer(
            name=name, port=port, index_path=simple, processes=lambda: _families([process.pid])
        )
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def _families(pids: Sequence[int]) -> list[psutil.Process]:
    heads = [psutil.Process(pid) for pid in pids]
    return [*heads, *(child for head in heads for child in head.children(recursive=True))]
