"""`python -m tests.bench`: the mirror beside nginx alone, devpi alone and proxpi, on this machine.

Everything is local: the upstream is a stand-in with recorded pages and files. Prints the figures;
with --write they go to docs/benchmarks.md and its plot.
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
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.bench import installs, load, report, servers
from tests.bench.recorded_index import record_index
from tests.cluster.cache import cache_root, digest, hold_lock

_PACKAGES = ("proxpi==1.3.1", "gunicorn==23.0.0", "matplotlib>=3.9,<4")
_CLIENTS = (1, 8, 50, 200)
_FEW = (1, 50)
# of the lock in one measurement: on loopback a large body may wait 40 ms for an acknowledgement,
# which is several times what nginx needs for all pages
_ROUNDS = {"json": 20, "html": 20, "files": 3}
_QUICK = {"nginx, static files", "this mirror"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.bench", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="of each warm figure")
    parser.add_argument("--only", nargs="*", default=[], help="cold, warm, installs")
    parser.add_argument("--write", action="store_true", help="docs/benchmarks.md and its plot")
    words = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the servers are ended
    python = _environment()
    kept = cache_root() / "bench-results.json"
    told: dict[str, Any] = {"cold": [], "warm": [], "installs": [], "memory": {}}
    try:
        measure(told, words.repeats, set(words.only) or {"cold", "warm", "installs"}, python)
    finally:  # a run that was ended tells what it has
        kept.write_text(json.dumps(told, indent=1))
        print(report.render_table(told))
    if words.write:
        docs = Path(__file__).parents[2] / "docs"
        report.write_table(told, docs / "benchmarks.md")
        plot = Path(__file__).with_name("plot.py")
        subprocess.run(
            [str(python), str(plot), str(kept), str(docs / "benchmarks.svg")],
            check=True,
            timeout=120,
        )
    return 0


def measure(told: dict[str, Any], repeats: int, parts: set[str], python: Path) -> None:
    """All figures, into ``told`` as they come.

    The servers run side by side and are asked in turn, so that ratios are fair.
    """
    lock = record_index()
    names = [one.name for one in lock]
    requests, transferred = load.measure_ceiling(clients=8)
    told["machine"] = f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}"
    told["ceiling"] = {"requests": requests, "bytes": transferred}
    with ExitStack() as stack:
        base = Path(stack.enter_context(_folder()))
        wheels = installs.write_requirements(lock, base)
        upstream = stack.enter_context(servers.serve_upstream(_new(base, "upstream"), lock))
        direct = [(f"/packages/{one.url.partition('/packages/')[2]}", one.sha256) for one in lock]
        _say("direct")
        told["direct"] = {
            "pages": asdict(
                load.run_load(upstream.address, load.page_requests("/simple/", names), clients=50)
            ),
            "files": asdict(
                load.run_load(upstream.address, load.file_requests(direct), clients=50)
            ),
        }
        if {"cold", "installs"} <= parts:
            for name, times in (("install", 1), ("installs", 4)):
                got = installs.measure_installs(upstream, "uv", wheels, at_once=times)
                told["direct"][name] = asdict(got)
            # a mirror of its own: four whole installs at once, with nothing in it
            with servers.serve_mirror(_new(base, "cold"), upstream) as cold:
                _say("cold installs")
                seen = len(upstream.requested_paths())
                got = installs.measure_installs(cold, "uv", wheels, at_once=4)
                asked = Counter(upstream.requested_paths()[seen:])
                told["cold_installs"] = asdict(got) | {"twice": _twice(asked)}
        home = _new(base, "mirror")
        tested = [
            stack.enter_context(servers.serve_mirror(home, upstream)),
            stack.enter_context(servers.serve_proxpi(_new(base, "proxpi"), upstream, python)),
            stack.enter_context(servers.serve_devpi(_new(base, "devpi"), upstream)),
        ]
        paths: dict[str, list[tuple[str, str]]] = {}
        for one in tested:
            _say(f"cold {one.name}")
            seen = len(upstream.requested_paths())
            cpu = one.cpu_seconds()
            pages = load.run_load(
                one.address, load.page_requests(one.index_path, names), clients=50
            )
            paths[one.name] = servers.find_file_paths(one, lock)
            files = load.run_load(one.address, load.file_requests(paths[one.name]), clients=50)
            told["cold"].append(
                {
                    "server": one.name,
                    "pages": asdict(pages),
                    "files": asdict(files),
                    "cpu": one.cpu_seconds() - cpu,
                    "twice": _twice(Counter(upstream.requested_paths()[seen:])),
                }
            )
        mirror = tested[0]
        load.run_load(
            mirror.address, load.page_requests(mirror.index_path, names, load.HTML), clients=8
        )
        limit = stack.enter_context(
            servers.serve_static_nginx(_new(base, "limit"), home / "data", lock)
        )
        paths[limit.name] = servers.find_file_paths(limit, lock)
        tested.insert(0, limit)
        if "warm" in parts:
            for row in _warm(tested, names, paths, repeats):
                told["warm"].append(row)
        if "installs" in parts:
            told["memory"] = {one.name: one.memory_bytes() for one in tested}
            for row in _installs(tested, wheels, repeats):
                told["installs"].append(row)
        told["memory"] = {one.name: one.memory_bytes() for one in tested}


def _warm(
    tested: list[servers.BenchmarkServer],
    names: list[str],
    paths: dict[str, list[tuple[str, str]]],
    repeats: int,
) -> Iterator[dict[str, Any]]:
    for clients in _CLIENTS:
        for turn in range(repeats):
            _say(f"warm, {clients} clients, {turn + 1} of {repeats}")
            for one in tested:
                if one.name == "devpi alone" and (turn or clients not in _FEW):
                    continue  # seconds against tenths of one: less tells enough
                for kind, wanted in (
                    ("json", load.page_requests(one.index_path, names)),
                    ("html", load.page_requests(one.index_path, names, load.HTML)),
                    ("files", load.file_requests(paths[one.name])),
                ):
                    rounds = _ROUNDS[kind] if one.name in _QUICK else 1
                    cpu = one.cpu_seconds()
                    got = load.run_load(one.address, wanted, clients=clients, repeat=rounds)
                    row = asdict(got) | {"server": one.name, "kind": kind, "clients": clients}
                    each = {"requests", "bytes", "seconds"}
                    row |= {key: row[key] / rounds for key in each}
                    yield row | {"cpu": (one.cpu_seconds() - cpu) / rounds}


def _installs(
    tested: list[servers.BenchmarkServer], wheels: Path, repeats: int
) -> Iterator[dict[str, Any]]:
    for program, times in (("uv", repeats), ("pip", 1)):
        for turn in range(times):
            for one in tested:
                if turn and one.name in {"devpi alone", "proxpi"}:
                    continue
                _say(f"{program} from {one.name}, {turn + 1} of {times}")
                got = installs.measure_installs(one, program, wheels)
                yield asdict(got) | {"server": one.name}


def _twice(asked: Counter[str]) -> int:
    """How many URLs the upstream was asked for more than once."""
    return sum(1 for times in asked.values() if times > 1)


def _environment() -> Path:
    """A Python with the peer and the plotter; made once, in the cache."""
    folder = cache_root() / f"bench-venv-{digest(*_PACKAGES)}"
    with hold_lock("bench-venv"):
        if not (folder / "complete").exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
            words = [str(folder / "bin/python"), "-m", "pip", "install", "-q", *_PACKAGES]
            subprocess.run(words, check=True, timeout=600)
            (folder / "complete").touch()
    return folder / "bin/python"


def _folder() -> tempfile.TemporaryDirectory[str]:
    # beside the record: its files are linked, not copied
    return tempfile.TemporaryDirectory(dir=cache_root(), prefix="bench-")


def _new(base: Path, name: str) -> Path:
    made = base / name
    made.mkdir()
    return made


def _say(text: str) -> None:
    print(f"… {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
