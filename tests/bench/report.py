"""Render the results as Markdown tables and put them into docs/benchmarks.md."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

BEGIN_MARK, END_MARK = "<!-- figures -->", "<!-- end of figures -->"
_KINDS = {"json": "pages, JSON", "html": "pages, HTML", "files": "files"}


def print_status(text: str) -> None:
    """Print what is being measured."""
    print(f"… {text}", file=sys.stderr, flush=True)


def replace_section(page: Path, begin: str, text: str, end: str) -> None:
    """Replace the text between two marks of a page."""
    before, _, rest = page.read_text().partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def render_table(results: dict[str, Any]) -> str:
    """Return all results as Markdown."""
    parts = [
        _render_machine(results),
        *_render_cold(results),
        *_render_warm(results),
        *_render_installs(results),
    ]
    return "\n".join(parts)


def _render_machine(results: dict[str, Any]) -> str:
    if "ceiling" not in results:
        return "Nothing was measured.\n"
    ceiling = results["ceiling"]
    runs = results["warm"]
    requests = max((run["requests"] / run["seconds"] for run in runs), default=0.0)
    bandwidth = max((run["bytes"] / run["seconds"] for run in runs), default=0.0)
    return (
        f"Machine: {results['machine']}. The client's own ceiling: "
        f"{ceiling['requests']:,.0f} requests/s and {ceiling['bytes'] / 1e9:.1f} GB/s; "
        f"the most that was measured: {requests:,.0f} requests/s and {bandwidth / 1e9:.1f} GB/s.\n"
    )


def _render_cold(results: dict[str, Any]) -> Iterable[str]:
    if not results["cold"]:
        return
    direct = results["direct"]
    yield "Cold, 50 connections at once (seconds):\n"
    yield "| server | 146 pages | 146 files | both | wrong | URLs asked twice | CPU s |"
    yield "|---|---|---|---|---|---|---|"
    pages, files = direct["pages"]["seconds"], direct["files"]["seconds"]
    yield f"| the upstream itself | {pages:.2f} | {files:.2f} | {pages + files:.2f} | 0 | | |"
    for run in results["cold"]:
        pages, files = run["pages"]["seconds"], run["files"]["seconds"]
        wrong = sum(run["pages"]["wrong"].values()) + sum(run["files"]["wrong"].values())
        yield (
            f"| {run['server']} | {pages:.2f} | {files:.2f} | {pages + files:.2f} | {wrong} "
            f"| {run['twice']} | {run['cpu']:.1f} |"
        )
    yield ""
    if "cold_installs" in results:
        cold, near = results["cold_installs"], direct["installs"]
        yield (
            f"Four whole `uv pip install` at once: direct {near['seconds']:.1f} s, "
            f"from a cold mirror {cold['seconds']:.1f} s "
            f"({cold['seconds'] / near['seconds']:.2f}×), {cold['failed']} failed, "
            f"{cold['twice']} URLs asked twice. One install, direct: "
            f"{direct['install']['seconds']:.1f} s.\n"
        )


def _render_warm(results: dict[str, Any]) -> Iterable[str]:
    runs = results["warm"]
    if not runs:
        return
    yield "Warm, 146 requests (seconds, median; ratio to nginx with its range):\n"
    servers = list(dict.fromkeys(run["server"] for run in runs))
    yield "| clients | what | " + " | ".join(servers) + " | this mirror ÷ nginx |"
    yield "|---|---|" + "---|" * (len(servers) + 1)
    for clients in dict.fromkeys(run["clients"] for run in runs):
        for kind, title in _KINDS.items():
            cells = []
            for server in servers:
                seconds = _select_seconds(results, server, kind, clients)
                cells.append(f"{median(seconds):.3f}" if seconds else "–")
            ratio = _render_ratio(results, kind, clients)
            yield f"| {clients} | {title} | " + " | ".join(cells) + f" | {ratio} |"
    yield ""
    yield "| | " + " | ".join(servers) + " |"
    yield "|---|" + "---|" * len(servers)
    by_server = {name: [run for run in runs if run["server"] == name] for name in servers}
    cpu = [sum(run["cpu"] for run in rows) / len(rows) for rows in by_server.values()]
    yield "| CPU s for 146 requests, mean | " + " | ".join(f"{value:.3f}" for value in cpu) + " |"
    memory = [results["memory"].get(name, 0) / 1e6 for name in servers]
    yield "| memory, MB (PSS) | " + " | ".join(f"{value:.0f}" for value in memory) + " |"
    wrong = [sum(sum(run["wrong"].values()) for run in rows) for rows in by_server.values()]
    yield "| wrong answers | " + " | ".join(str(count) for count in wrong) + " |\n"


def _render_installs(results: dict[str, Any]) -> Iterable[str]:
    installs = results["installs"]
    if not installs:
        return
    yield "Whole installs of the lock's wheels, no cache, warm server (seconds; server's CPU s):\n"
    yield "| server | uv pip install | its CPU | pip install | its CPU |"
    yield "|---|---|---|---|---|"
    for server in dict.fromkeys(run["server"] for run in installs):
        cells = []
        for program in ("uv", "pip"):
            runs = [
                run for run in installs if run["server"] == server and run["program"] == program
            ]
            seconds = [run["seconds"] for run in runs]
            failed = sum(run["failed"] for run in runs)
            cells.append(
                f"{median(seconds):.1f} ({min(seconds):.1f}–{max(seconds):.1f})"
                + (f", {failed} failed" if failed else "")
            )
            cells.append(f"{median([run['cpu'] for run in runs]):.2f}")
        yield f"| {server} | " + " | ".join(cells) + " |"
    yield ""


def _select_seconds(results: dict[str, Any], server: str, kind: str, clients: int) -> list[float]:
    return [
        run["seconds"]
        for run in results["warm"]
        if (run["server"], run["kind"], run["clients"]) == (server, kind, clients)
    ]


def _render_ratio(results: dict[str, Any], kind: str, clients: int) -> str:
    ours = _select_seconds(results, "this mirror", kind, clients)
    limit = _select_seconds(results, "nginx, static files", kind, clients)
    ratios = [mirror / nginx for mirror, nginx in zip(ours, limit, strict=True)]
    return f"{median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
