"""The figures as a page: a table for people, and what it was measured with."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

BEGIN_MARK, END_MARK = "<!-- figures -->", "<!-- end of figures -->"
_KINDS = {"json": "pages, JSON", "html": "pages, HTML", "files": "files"}


def write_table(told: dict[str, Any], page: Path) -> None:
    """Put the table between the page's marks; the words round it are written by hand."""
    text = page.read_text()
    before, _, rest = text.partition(BEGIN_MARK)
    _, _, after = rest.partition(END_MARK)
    page.write_text(f"{before}{BEGIN_MARK}\n{render_table(told)}\n{END_MARK}{after}")


def render_table(told: dict[str, Any]) -> str:
    """Markdown."""
    parts = [_head(told), *_cold(told), *_warm(told), *_installs(told)]
    return "\n".join(parts)


def _head(told: dict[str, Any]) -> str:
    if "ceiling" not in told:
        return "Nothing was measured.\n"
    ceiling = told["ceiling"]
    most = max(
        (one["requests"] / one["seconds"] for one in told["warm"]),
        default=0.0,
    )
    bulk = max((one["bytes"] / one["seconds"] for one in told["warm"]), default=0.0)
    return (
        f"Machine: {told['machine']}. The client's own ceiling: "
        f"{ceiling['requests']:,.0f} requests/s and {ceiling['bytes'] / 1e9:.1f} GB/s; "
        f"the most that was measured: {most:,.0f} requests/s and {bulk / 1e9:.1f} GB/s.\n"
    )


def _cold(told: dict[str, Any]) -> Iterable[str]:
    if not told["cold"]:
        return
    direct = told["direct"]
    yield "Cold, 50 connections at once (seconds):\n"
    yield "| server | 146 pages | 146 files | both | wrong | URLs asked twice | CPU s |"
    yield "|---|---|---|---|---|---|---|"
    pages, files = direct["pages"]["seconds"], direct["files"]["seconds"]
    yield f"| the upstream itself | {pages:.2f} | {files:.2f} | {pages + files:.2f} | 0 | | |"
    for one in told["cold"]:
        pages, files = one["pages"]["seconds"], one["files"]["seconds"]
        wrong = sum(one["pages"]["wrong"].values()) + sum(one["files"]["wrong"].values())
        yield (
            f"| {one['server']} | {pages:.2f} | {files:.2f} | {pages + files:.2f} | {wrong} "
            f"| {one['twice']} | {one['cpu']:.1f} |"
        )
    yield ""
    if "cold_installs" in told:
        cold, near = told["cold_installs"], direct["installs"]
        yield (
            f"Four whole `uv pip install` at once: direct {near['seconds']:.1f} s, "
            f"from a cold mirror {cold['seconds']:.1f} s "
            f"({cold['seconds'] / near['seconds']:.2f}×), {cold['failed']} failed, "
            f"{cold['twice']} URLs asked twice. One install, direct: "
            f"{direct['install']['seconds']:.1f} s.\n"
        )


def _warm(told: dict[str, Any]) -> Iterable[str]:
    if not told["warm"]:
        return
    yield "Warm, 146 requests (seconds, median; ratio to nginx with its range):\n"
    servers = list(dict.fromkeys(one["server"] for one in told["warm"]))
    yield "| clients | what | " + " | ".join(servers) + " | this mirror ÷ nginx |"
    yield "|---|---|" + "---|" * (len(servers) + 1)
    for clients in dict.fromkeys(one["clients"] for one in told["warm"]):
        for kind, words in _KINDS.items():
            cells = []
            for server in servers:
                took = _took(told, server, kind, clients)
                cells.append(f"{median(took):.3f}" if took else "–")
            yield (
                f"| {clients} | {words} | "
                + " | ".join(cells)
                + f" | {_ratio(told, kind, clients)} |"
            )
    yield ""
    yield "| | " + " | ".join(servers) + " |"
    yield "|---|" + "---|" * len(servers)
    cpu = [sum(o["cpu"] for o in told["warm"] if o["server"] == s) for s in servers]
    runs = [sum(1 for o in told["warm"] if o["server"] == s) for s in servers]
    yield (
        "| CPU s for 146 requests, mean | "
        + " | ".join(f"{a / b:.3f}" for a, b in zip(cpu, runs, strict=True))
        + " |"
    )
    yield (
        "| memory, MB (PSS) | "
        + " | ".join(f"{told['memory'].get(s, 0) / 1e6:.0f}" for s in servers)
        + " |"
    )
    wrong = [
        sum(sum(o["wrong"].values()) for o in told["warm"] if o["server"] == s) for s in servers
    ]
    yield "| wrong answers | " + " | ".join(str(n) for n in wrong) + " |\n"


def _installs(told: dict[str, Any]) -> Iterable[str]:
    if not told["installs"]:
        return
    yield "Whole installs of the lock's wheels, no cache, warm server (seconds; server's CPU s):\n"
    yield "| server | uv pip install | its CPU | pip install | its CPU |"
    yield "|---|---|---|---|---|"
    for server in dict.fromkeys(one["server"] for one in told["installs"]):
        cells = []
        for program in ("uv", "pip"):
            rows = [
                one
                for one in told["installs"]
                if one["server"] == server and one["program"] == program
            ]
            took = [one["seconds"] for one in rows]
            failed = sum(one["failed"] for one in rows)
            cells.append(
                f"{median(took):.1f} ({min(took):.1f}–{max(took):.1f})"
                + (f", {failed} failed" if failed else "")
            )
            cells.append(f"{median([one['cpu'] for one in rows]):.2f}")
        yield f"| {server} | " + " | ".join(cells) + " |"
    yield ""


def _took(told: dict[str, Any], server: str, kind: str, clients: int) -> list[float]:
    return [
        one["seconds"]
        for one in told["warm"]
        if (one["server"], one["kind"], one["clients"]) == (server, kind, clients)
    ]


def _ratio(told: dict[str, Any], kind: str, clients: int) -> str:
    ours = _took(told, "this mirror", kind, clients)
    limit = _took(told, "nginx, static files", kind, clients)
    ratios = [a / b for a, b in zip(ours, limit, strict=True)]
    return f"{median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
