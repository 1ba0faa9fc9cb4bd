"""How a mirror's state is printed."""

from __future__ import annotations

import click

from cli.options import OutputFormat
from cli.output import terminal
from mirror.cache_status import CacheStatus
from mirror.core.codec import dump
from mirror.local.mirror import LocalStatus

Row = tuple[str, str]


def figures(told: CacheStatus | None) -> list[Row]:
    """Cache, hits and upstream; nothing where there is no front."""
    if told is None:
        return []
    rate = told.hit_rate
    hits = "no requests yet" if rate is None else f"{rate:.1%} of {told.requests} requests"
    upstream = f"{told.upstream} answers"
    if told.upstream_away:
        since = f" since {told.upstream_since}" if told.upstream_since else ""
        upstream = f"{told.upstream} is away{since}: {told.upstream_away}; what is kept is served"
    return [
        ("cached", f"{told.files} files, {told.size / 1e6:.1f} MB; {told.pages} pages"),
        ("hits", f"{hits} since the start, {told.fetched} fetched from upstream"),
        ("upstream", upstream),
        (
            "checked",
            f"{told.scrubbed or 'not yet'}; {told.mended} mended by itself since the start",
        ),
        ("free", f"{told.free / 1e9:.1f} of {told.volume / 1e9:.1f} GB"),
    ]


def local(status: LocalStatus, told: CacheStatus | None, output: OutputFormat) -> None:
    """The mirror of this machine."""
    if output != "table":
        more = {"url": status.endpoint.url, "figures": dump(told) if told else None}
        terminal.document({**dump(status), **more}, output)
        return
    kept = [("cached", f"{status.cached_files} files, {status.cached_bytes / 1e6:.1f} MB")]
    rows = [
        ("index", status.endpoint.url),
        ("front", status.front),
        ("devpi", status.version or "-"),
        *(figures(told) or kept),
        ("data", str(status.data)),
        ("log", str(status.log)),
    ]
    if told is not None and told.is_full:
        rows.append(("trouble", f"the disk of {status.data} is full: make room on it"))
    if told is not None and told.lost:
        rows.append(("trouble", told.describe_lost_uploads))
    terminal.facts(f"mirror on this machine: {status.state}", rows)
    if status.state == "running":
        click.echo('\nnext: eval "$(mirror env --local)"   and install as ever')
    else:
        click.echo("\nnext: mirror up --local")
