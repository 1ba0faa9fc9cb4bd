"""Run the servers to measure, each on loopback with directories of its own."""

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
    """A running server. ``index_path`` is the path of its simple index."""

    name: str
    port: int
    index_path: str
    processes: Callable[[], Sequence[psutil.Process]]
    access_log: Path | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def cpu_seconds(self) -> float:
        """Return the CPU seconds of all its processes since they started."""
        times = [process.cpu_times() for process in self.processes()]
        return sum(time.user + time.system for time in times)

    def memory_bytes(self) -> int:
        """Return the memory of its processes in bytes, shared pages counted once (PSS)."""
        return sum(process.memory_full_info().pss for process in self.processes())

    def requested_paths(self) -> list[str]:
        """Return the paths in its access log, in order."""
        assert self.access_log is not None
        return [line.split(" ")[6] for line in self.access_log.read_text().splitlines()]


@contextmanager
def serve_upstream(folder: Path, record: Sequence[RecordedProject]) -> Iterator[BenchmarkServer]:
    """Serve the record as the upstream; the file URLs of its pages lead to itself."""
    port = find_free_port()
    for project in record:
        host, _, path = project.url.partition("/packages/")
        page = folder / "simple" / project.name / "index.json"
        page.parent.mkdir(parents=True)
        body = project.page.read_bytes()
        page.write_bytes(body.replace(host.encode(), f"http://127.0.0.1:{port}".encode()))
        target = folder / "packages" / path
        target.parent.mkdir(parents=True)
        os.link(project.file, target)
        metadata = project.file.with_name(f"{project.file.name}.metadata")
        if metadata.exists():
            os.link(metadata, target.with_name(f"{target.name}.metadata"))
    with _run_nginx("upstream", folder, port, gzip="off", log=True) as server:
        yield server


@contextmanager
def serve_static_nginx(
    folder: Path, mirror_data: Path, record: Sequence[RecordedProject]
) -> Iterator[BenchmarkServer]:
    """Serve the mirror's pages and files with nginx alone, in the same encoding."""
    for project in record:
        page = folder / "simple" / project.name
        page.mkdir(parents=True)
        for kind in ("json", "html"):
            for suffix in ("", ".gz"):
                os.link(
                    mirror_data / f"public/pages/{project.name}.{kind}{suffix}",
                    page / f"index.{kind}{suffix}",
                )
        target = folder / f"root/pypi/+f/{project.name}/{project.sha256}/{project.file.name}"
        target.parent.mkdir(parents=True)
        os.link(project.file, target)
    port = find_free_port()
    with _run_nginx("nginx, static files", folder, port, gzip="on", log=False) as server:
        yield server


@contextmanager
def serve_mirror(home: Path, upstream: BenchmarkServer) -> Iterator[BenchmarkServer]:
    """Run this project as `mirror up --local` does."""
    local = LocalMirror(home)
    port = find_free_port()
    settings = {"port": port, "upstream": f"http://{upstream.address}/simple/"}
    local.up(overrides=settings, deadline=Deadline.after(180))
    try:
        pids = [record.pid for record in local.services.processes.read_records().values()]
        yield BenchmarkServer(
            name="this mirror",
            port=port,
            index_path="/workloads/stable/+simple/",
            processes=lambda: _list_processes(pids),
        )
    finally:
        local.down(purge=False)


@contextmanager
def serve_devpi(folder: Path, upstream: BenchmarkServer) -> Iterator[BenchmarkServer]:
    """Run devpi-server with the settings that suit it best, without a proxy."""
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
    with _run_server("devpi alone", argv, port, "/workloads/stable/+simple/", folder) as server:
        with IndexClient(f"http://{server.address}", Deadline.after(60)) as client:
            client.login("root", (folder / "secrets/root-password").read_text())
            client.ensure_indexes(f"http://{upstream.address}/simple/", behind_proxy=False)
        yield server


@contextmanager
def serve_proxpi(
    folder: Path, upstream: BenchmarkServer, python: Path
) -> Iterator[BenchmarkServer]:
    """Run proxpi as its own image does: gunicorn with threads."""
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
    with _run_server("proxpi", argv, port, "/index/", folder, env) as server:
        yield server


def find_file_paths(
    server: BenchmarkServer, record: Sequence[RecordedProject]
) -> list[tuple[str, str]]:
    """Return the path of each recorded file, as the server's pages have it, and its SHA-256."""
    paths = []
    with httpx.Client(timeout=120, trust_env=False, headers={"Accept": SIMPLE_JSON}) as client:
        for project in record:
            url = f"http://{server.address}{server.index_path}{project.name}/"
            page = client.get(url).raise_for_status()
            (link,) = (
                file["url"]
                for file in page.json()["files"]
                if file["filename"] == project.file.name
            )
            paths.append((urlsplit(str(page.url.join(link))).path, project.sha256))
    return paths


@contextmanager
def _run_nginx(
    name: str, root: Path, port: int, *, gzip: str, log: bool
) -> Iterator[BenchmarkServer]:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    config = root / "nginx.conf"
    access_log = root / "access.log"
    text = _CONF.format(
        user="root" if os.getuid() == 0 else "nobody",
        root=root,
        temporary=" ".join(f"{kind}_temp_path {root}/tmp-{kind};" for kind in kinds),
        log=access_log if log else "off",
        port=port,
        json=SIMPLE_JSON,
        gzip=gzip,
    )
    config.write_text(text)
    argv = ("nginx", "-p", str(root), "-c", str(config), "-e", "stderr")
    with _run_server(name, argv, port, "/simple/", root) as server:
        yield BenchmarkServer(
            name=name,
            port=port,
            index_path="/simple/",
            processes=server.processes,
            access_log=access_log if log else None,
        )


@contextmanager
def _run_server(
    name: str,
    argv: Sequence[str],
    port: int,
    index_path: str,
    folder: Path,
    env: dict[str, str] | None = None,
) -> Iterator[BenchmarkServer]:
    """Run a server for the length of a block; the block starts when the server listens."""
    with (folder / "output.log").open("wb") as output:
        process = subprocess.Popen(
            argv, stdout=output, stderr=output, env={**os.environ, **(env or {})}
        )
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                log = (folder / "output.log").read_text()[-2000:]
                assert process.poll() is None and time.monotonic() < deadline, f"{name}: {log}"
                time.sleep(0.2)
        yield BenchmarkServer(
            name=name,
            port=port,
            index_path=index_path,
            processes=lambda: _list_processes([process.pid]),
        )
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def _list_processes(pids: Sequence[int]) -> list[psutil.Process]:
    """Return the processes and all their descendants."""
    parents = [psutil.Process(pid) for pid in pids]
    return [*parents, *(child for parent in parents for child in parent.children(recursive=True))]
