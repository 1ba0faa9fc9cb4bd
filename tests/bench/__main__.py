"""`python -m tests.bench`: the mirror next to nginx alone, devpi alone and proxpi, on this machine.

Everything is local: the upstream serves recorded pages and files. Prints the results; --write
puts them into docs/benchmarks.md and its plot.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.bench import installs, load, report, servers
from tests.bench.recorded_index import RecordedProject, record_index
from tests.bench.report import print_status
from tests.bench.servers import BenchmarkServer
from tests.cluster.cache import cache_root, digest, hold_lock

_PACKAGES = ("proxpi==1.3.1", "gunicorn==23.0.0", "matplotlib>=3.9,<4")
_PARTS = {"cold", "warm", "installs"}
_CLIENTS = (1, 8, 50, 200)
_CLIENTS_OF_SLOW_SERVERS = (1, 50)
# repetitions of the lock in one measurement: on loopback a large body may wait 40 ms for an
# acknowledgment, which is several times what nginx needs for all pages
_ROUNDS = {"json": 20, "html": 20, "files": 3}
_FAST_SERVERS = {"nginx, static files", "this mirror"}

FilePaths = dict[str, list[tuple[str, str]]]  # server → the path and SHA-256 of each file


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.bench", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="of each warm measurement")
    parser.add_argument("--only", nargs="*", default=[], help="cold, warm, installs")
    parser.add_argument("--write", action="store_true", help="update docs/benchmarks.md")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # stop the servers
    python = _ensure_environment()
    results_path = cache_root() / "bench-results.json"
    results: dict[str, Any] = {"cold": [], "warm": [], "installs": [], "memory": {}}
    try:
        measure(results, options.repeats, set(options.only) or _PARTS, python)
    finally:  # an interrupted run reports what it has measured
        results_path.write_text(json.dumps(results, indent=1))
        print(report.render_table(results))
    if options.write:
        docs = Path(__file__).parents[2] / "docs"
        table = report.render_table(results)
        report.replace_section(docs / "benchmarks.md", report.BEGIN_MARK, table, report.END_MARK)
        plot = Path(__file__).with_name("plot.py")
        command = [str(python), str(plot), str(results_path), str(docs / "benchmarks.svg")]
        subprocess.run(command, check=True, timeout=120)
    return 0


def measure(results: dict[str, Any], repeats: int, parts: set[str], python: Path) -> None:
    """Measure everything; add each result to ``results`` as soon as it is there.

    The servers run side by side and are measured in turn, so that their ratios are fair.
    """
    record = record_index()
    names = [project.name for project in record]
    requests, transferred = load.measure_ceiling(clients=8)
    results["machine"] = f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}"
    results["ceiling"] = {"requests": requests, "bytes": transferred}
    with ExitStack() as stack:
        base = Path(stack.enter_context(_temporary_directory()))
        wheels = installs.write_requirements(record, base)
        upstream = stack.enter_context(
            servers.serve_upstream(_make_folder(base, "upstream"), record)
        )
        results["direct"] = _measure_direct(upstream, record)
        if {"cold", "installs"} <= parts:
            for name, concurrency in (("install", 1), ("installs", 4)):
                result = installs.measure_installs(upstream, "uv", wheels, concurrency=concurrency)
                results["direct"][name] = asdict(result)
            # on a mirror of its own, which is empty
            with servers.serve_mirror(_make_folder(base, "cold"), upstream) as cold:
                print_status("cold installs")
                requests_before = len(upstream.requested_paths())
                result = installs.measure_installs(cold, "uv", wheels, concurrency=4)
                twice = _count_repeated(upstream.requested_paths()[requests_before:])
                results["cold_installs"] = asdict(result) | {"twice": twice}
        home = _make_folder(base, "mirror")
        tested = [
            stack.enter_context(servers.serve_mirror(home, upstream)),
            stack.enter_context(
                servers.serve_proxpi(_make_folder(base, "proxpi"), upstream, python)
            ),
            stack.enter_context(servers.serve_devpi(_make_folder(base, "devpi"), upstream)),
        ]
        paths: FilePaths = {}
        for server in tested:
            paths[server.name], row = _measure_cold(server, upstream, record)
            results["cold"].append(row)
        mirror = tested[0]
        html_pages = load.page_requests(mirror.index_path, names, load.HTML)
        load.run_load(mirror.address, html_pages, clients=8)
        limit = stack.enter_context(
            servers.serve_static_nginx(_make_folder(base, "limit"), home / "data", record)
        )
        paths[limit.name] = servers.find_file_paths(limit, record)
        tested.insert(0, limit)
        if "warm" in parts:
            for row in _measure_warm(tested, names, paths, repeats):
                results["warm"].append(row)
        if "installs" in parts:
            results["memory"] = {server.name: server.memory_bytes() for server in tested}
            for row in _measure_installs(tested, wheels, repeats):
                results["installs"].append(row)
        results["memory"] = {server.name: server.memory_bytes() for server in tested}


def _measure_direct(
    upstream: BenchmarkServer, record: Sequence[RecordedProject]
) -> dict[str, dict[str, Any]]:
    """Measure the upstream itself."""
    print_status("direct")
    files = [
        (f"/packages/{project.url.partition('/packages/')[2]}", project.sha256)
        for project in record
    ]
    pages = load.page_requests("/simple/", [project.name for project in record])
    return {
        "pages": asdict(load.run_load(upstream.address, pages, clients=50)),
        "files": asdict(load.run_load(upstream.address, load.file_requests(files), clients=50)),
    }


def _measure_cold(
    server: BenchmarkServer, upstream: BenchmarkServer, record: Sequence[RecordedProject]
) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    """Measure a server that has cached nothing; return its file paths and the result."""
    print_status(f"cold {server.name}")
    requests_before = len(upstream.requested_paths())
    cpu_before = server.cpu_seconds()
    requests = load.page_requests(server.index_path, [project.name for project in record])
    pages = load.run_load(server.address, requests, clients=50)
    paths = servers.find_file_paths(server, record)
    files = load.run_load(server.address, load.file_requests(paths), clients=50)
    return paths, {
        "server": server.name,
        "pages": asdict(pages),
        "files": asdict(files),
        "cpu": server.cpu_seconds() - cpu_before,
        "twice": _count_repeated(upstream.requested_paths()[requests_before:]),
    }


def _measure_warm(
    tested: Sequence[BenchmarkServer], names: list[str], paths: FilePaths, repeats: int
) -> Iterator[dict[str, Any]]:
    for clients in _CLIENTS:
        for turn in range(repeats):
            print_status(f"warm, {clients} clients, {turn + 1} of {repeats}")
            for server in tested:
                if server.name == "devpi alone" and (
                    turn or clients not in _CLIENTS_OF_SLOW_SERVERS
                ):
                    continue  # takes seconds instead of tenths; fewer measurements suffice
                for kind, requests in (
                    ("json", load.page_requests(server.index_path, names)),
                    ("html", load.page_requests(server.index_path, names, load.HTML)),
                    ("files", load.file_requests(paths[server.name])),
                ):
                    rounds = _ROUNDS[kind] if server.name in _FAST_SERVERS else 1
                    cpu_before = server.cpu_seconds()
                    result = load.run_load(server.address, requests, clients=clients, repeat=rounds)
                    row = asdict(result)
                    row |= {key: row[key] / rounds for key in ("requests", "bytes", "seconds")}
                    cpu = (server.cpu_seconds() - cpu_before) / rounds
                    yield row | {
                        "server": server.name,
                        "kind": kind,
                        "clients": clients,
                        "cpu": cpu,
                    }


def _measure_installs(
    tested: Sequence[BenchmarkServer], wheels: Path, repeats: int
) -> Iterator[dict[str, Any]]:
    for program, turns in (("uv", repeats), ("pip", 1)):
        for turn in range(turns):
            for server in tested:
                if turn and server.name not in _FAST_SERVERS:
                    continue
                print_status(f"{program} from {server.name}, {turn + 1} of {turns}")
                result = installs.measure_installs(server, program, wheels)
                yield asdict(result) | {"server": server.name}


def _count_repeated(paths: Sequence[str]) -> int:
    """Return how many paths were requested more than once."""
    return sum(1 for count in Counter(paths).values() if count > 1)


def _ensure_environment() -> Path:
    """Return a Python that has proxpi and matplotlib; install them into the cache if needed."""
    folder = cache_root() / f"bench-venv-{digest(*_PACKAGES)}"
    python = folder / "bin/python"
    with hold_lock("bench-venv"):
        if not (folder / "complete").exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
            command = [str(python), "-m", "pip", "install", "-q", *_PACKAGES]
            subprocess.run(command, check=True, timeout=600)
            (folder / "complete").touch()
    return python


def _temporary_directory() -> tempfile.TemporaryDirectory[str]:
    # on the file system of the record, whose files are linked, not copied
    return tempfile.TemporaryDirectory(dir=cache_root(), prefix="bench-")


def _make_folder(base: Path, name: str) -> Path:
    folder = base / name
    folder.mkdir()
    return folder


if __name__ == "__main__":
    sys.exit(main())
