"""Everything that a lock needs, asked for at the mirror, so that it is there when pods ask.

Runs beside the mirror (`python3 -m mirror.warm …`: in the cluster a Job, on this machine a
process of its own) and goes on when the command that started it has ended. What the mirror has
is not fetched from upstream again, so running it twice is how it resumes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin

from packaging.specifiers import SpecifierSet

from mirror.core.errors import MirrorError, WaitTimeout
from mirror.core.wait import Deadline, wait_until
from mirror.store.download import DownloadCheck, build_opener, check_download
from mirror.warm.request import (
    MissingDistribution,
    RequestedRelease,
    WarmProgress,
    WarmReport,
    WarmRequest,
)
from mirror.wheels import TargetEnvironment, parse_version, select_files

DEFAULT_CONCURRENCY = 8  # requests; more only queue before an upstream
_PATIENCE = 90.0  # seconds that one page or file is asked for again where the mirror fails
_JSON = "application/vnd.pypi.simple.v1+json"
_PASSING = {0, 429, 500, 502, 503, 504}


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFile:
    """A file of a page. ``size`` in bytes, 0 where the page does not say."""

    project: str
    filename: str
    url: str
    sha256: str
    size: int


def warm(
    index: str,
    request: WarmRequest,
    *,
    on_progress: Callable[[WarmProgress], None],
    concurrency: int = DEFAULT_CONCURRENCY,
) -> WarmReport:
    """Ask for the pages, then for the files, a few at once. ``index`` ends in /+simple/."""
    begun = time.monotonic()
    files: dict[str, IndexFile] = {}
    misses: list[MissingDistribution] = []
    with ThreadPoolExecutor(concurrency) as pool:
        pages = {pool.submit(_look, index, one, request.target): one for one in request.wanted}
        for number, page in enumerate(as_completed(pages), start=1):
            found, missed = page.result()
            files.update((file.url, file) for file in found)
            misses += missed
            text = pages[page].name
            on_progress(WarmProgress(step="pages", done=number, total=len(pages), text=text))
        size = fetched = 0
        since = time.monotonic()
        expected = sum(file.size for file in files.values())
        # the large ones first: the last minutes are not spent on one
        ordered = sorted(files.values(), key=lambda file: -file.size)
        running = {pool.submit(_persist, file.url, file.sha256): file for file in ordered}
        for number, done in enumerate(as_completed(running), start=1):
            file, result = running[done], done.result()
            size += result.size
            fetched += result.ok
            if not result.ok:
                misses.append(MissingDistribution(name=file.filename, why=result.why))
            share = size / expected if expected else number / len(running)
            took = time.monotonic() - since
            left = took / share - took if share else None
            on_progress(
                WarmProgress(
                    step="files",
                    done=number,
                    total=len(running),
                    text=f"{size / 1e6:.0f} of {expected / 1e6:.0f} MB",
                    left=max(left, 0.0) if left is not None else None,
                )
            )
    return WarmReport(
        projects=len(request.wanted),
        files=fetched,
        size=size,
        misses=tuple(sorted(misses, key=lambda miss: miss.name)),
        seconds=round(time.monotonic() - begun, 1),
    )


def _look(
    index: str, wanted: RequestedRelease, target: TargetEnvironment
) -> tuple[list[IndexFile], list[MissingDistribution]]:
    """The files of one release on its page."""
    url = f"{index}{quote(wanted.name)}/"
    label = wanted.name + (wanted.specifier if wanted.specifier.startswith("==") else "")

    def miss(why: str) -> tuple[list[IndexFile], list[MissingDistribution]]:
        return [], [MissingDistribution(name=label, why=why)]

    try:
        where, told = wait_until(
            lambda: _page(url),
            deadline=Deadline.after(_PATIENCE),
            what="the page",
            max_interval=5.0,
        )
    except (WaitTimeout, MirrorError) as broken:
        return miss(broken.why or broken.what)
    if told is None:
        return miss("no index has a project of this name")
    listed = [IndexFile(**one) for one in _files(where, wanted.name, told)]
    versions = {file.filename: parse_version(file.filename) for file in listed}
    allowed = SpecifierSet(wanted.specifier)
    fitting = [
        file
        for file in listed
        if (version := versions[file.filename]) is not None
        and allowed.contains(version, prereleases=wanted.specifier.startswith("==") or None)
    ]
    if not fitting:
        return miss(f"the index has no release {wanted.specifier or 'that is not a prerelease'}")
    newest = max(version for file in fitting if (version := versions[file.filename]))
    release = [file for file in fitting if versions[file.filename] == newest]
    pinned = [file for file in release if not wanted.hashes or file.sha256 in wanted.hashes]
    if not pinned:
        return miss("the index has other files than the lock: no hash of it is there")
    chosen = set(select_files([file.filename for file in pinned], target))
    if not chosen:
        pythons, machines = ", ".join(target.pythons), ", ".join(target.machines)
        return miss(f"no wheel for Python {pythons} on Linux {machines}, and no sdist")
    return [file for file in pinned if file.filename in chosen], []


def _page(url: str) -> tuple[str, dict[str, Any] | None] | None:
    """Where it stands in the end, and the page; None inside where there is none; else again."""
    request = urllib.request.Request(url, headers={"Accept": _JSON})
    try:
        with build_opener().open(request, timeout=_PATIENCE) as answer:
            told = json.loads(answer.read())
            return answer.url, told if isinstance(told, dict) else None
    except urllib.error.HTTPError as refused:
        if refused.code == 404:
            return url, None
        if refused.code in _PASSING:
            return None
        raise MirrorError("the page", why=f"the mirror answers {refused.code}") from refused
    except (OSError, ValueError, HTTPException):
        return None


def _files(where: str, project: str, told: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "project": project,
            "filename": str(one.get("filename", "")),
            "url": urljoin(where, str(one.get("url", ""))).partition("#")[0],
            "sha256": str((one.get("hashes") or {}).get("sha256", "")).lower(),
            "size": int(one.get("size") or 0),
        }
        for one in told.get("files", [])
    ]


def _persist(url: str, sha256: str) -> DownloadCheck:
    """Ask again while what stands in the way may pass."""
    last = DownloadCheck(status=0, why="it was not asked for")

    def look() -> DownloadCheck | None:
        nonlocal last
        last = check_download(url, sha256)
        return None if last.status in _PASSING and not last.ok else last

    try:
        return wait_until(
            look, deadline=Deadline.after(_PATIENCE), what="the file", max_interval=5.0
        )
    except WaitTimeout:
        return last


def main() -> int:
    """The program beside the mirror: lines of JSON, steps and last the report."""
    parser = argparse.ArgumentParser(prog="mirror.warm", description=__doc__)
    parser.add_argument("--index", required=True, help="URL of the simple index")
    parser.add_argument("--order", type=Path, required=True, help="what Order.to_bytes gave")
    parser.add_argument("--at-once", type=int, default=DEFAULT_CONCURRENCY)
    words = parser.parse_args()
    todo = WarmRequest.from_bytes(words.order.read_bytes())
    last = 0.0

    def told(step: WarmProgress) -> None:
        nonlocal last
        if time.monotonic() - last >= 1.0 or step.done == step.total:
            last = time.monotonic()
            print(json.dumps(asdict(step)), flush=True)

    os.nice(5)  # pods that install now come first
    result = warm(words.index, todo, on_progress=told, concurrency=words.at_once)
    print(json.dumps({"report": asdict(result)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
