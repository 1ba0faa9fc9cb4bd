"""The mirror's state as text, or as a document for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import click

from cli.options import OutputFormat
from cli.output import terminal
from mirror.cache_status import CacheStatus, UpstreamStatus
from mirror.core.codec import dump
from mirror.local.mirror import LocalMirror, LocalStatus


def cache_rows(cache: CacheStatus | None) -> list[tuple[str, str]]:
    """Return rows on the cache, its hit rate and its upstream; none where there is no proxy."""
    if cache is None:
        return []
    rate = cache.hit_rate
    hits = "no requests yet" if rate is None else f"{rate:.1%} of {cache.requests} requests"
    only = UpstreamStatus(
        name="", url=cache.upstream, away=cache.upstream_away, since=cache.upstream_since
    )
    upstreams = cache.upstreams if len(cache.upstreams) > 1 else (only,)
    scrubbed = f"{cache.scrubbed or 'not yet'}; {cache.repaired} repaired since the start"
    return [
        ("cached", f"{cache.files} files, {cache.size / 1e6:.1f} MB; {cache.pages} pages"),
        ("hits", f"{hits} since the start, {cache.fetched} fetched from upstream"),
        *((f"upstream {u.name}".rstrip(), _describe_upstream(u)) for u in upstreams),
        *((("policy", ", ".join(cache.policy)),) if cache.policy else ()),
        ("verified", scrubbed),
        ("free", f"{cache.free / 1e9:.1f} of {cache.volume / 1e9:.1f} GB"),
    ]


def _describe_upstream(upstream: UpstreamStatus) -> str:
    if not upstream.away:
        return f"{upstream.url} answers"
    since = f" since {upstream.since}" if upstream.since else ""
    return f"{upstream.url} does not answer{since}: {upstream.away}; cached files are served"


def print_local_plan(
    mirror: LocalMirror, overrides: Mapping[str, Any], output: OutputFormat
) -> None:
    """Print what `mirror up --local` would start; ``overrides`` are the given settings."""
    settings = replace(mirror.read_settings(), **overrides)
    if output != "table":
        terminal.document({**dump(settings), "data": mirror.paths.data_dir}, output)
        return
    terminal.facts(
        "mirror on this machine: would start",
        [
            ("index", settings.endpoint.url),
            ("upstream", ", ".join(settings.upstreams) or settings.upstream or "devpi's own"),
            ("data", str(mirror.paths.data_dir)),
        ],
    )
    click.echo("\nnothing was started or written")


def print_local(status: LocalStatus, cache: CacheStatus | None, output: OutputFormat) -> None:
    """Print the state of the mirror on this machine."""
    if output != "table":
        figures = dump(cache) if cache else None
        document = {**dump(status), "url": status.endpoint.url, "figures": figures}
        terminal.document(document, output)
        return
    cached = [("cached", f"{status.cached_files} files, {status.cached_bytes / 1e6:.1f} MB")]
    rows = [
        ("index", status.endpoint.url),
        ("proxy", status.proxy),
        ("devpi", status.version or "-"),
        *(cache_rows(cache) or cached),
        ("data", str(status.data)),
        ("log", str(status.log)),
    ]
    if cache is not None and cache.is_full:
        rows.append(("trouble", f"the disk of {status.data} is full: free some space"))
    if cache is not None and cache.lost:
        rows.append(("trouble", cache.lost_uploads_message))
    terminal.facts(f"mirror on this machine: {status.state}", rows)
    if status.state == "running":
        click.echo('\nnext: eval "$(mirror env --local)"   then install as usual')
    else:
        click.echo("\nnext: mirror up --local")
