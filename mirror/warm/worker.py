"""Fetch everything that a lock needs through the mirror, so that pods find it there.

The worker runs next to the mirror (`python3 -m mirror.warm …`: a Job in a cluster, a background
process on this machine) and continues when the command that started it has ended. The mirror
does not fetch again what it has, so running a request twice resumes it.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin

from packaging.specifiers import SpecifierSet
from packaging.version import Version
from urllib3.exceptions import HTTPError

from mirror.core.errors import MirrorError, WaitTimeout
from mirror.core.wait import Deadline, wait_until
from mirror.http_pool import final_url
from mirror.settings import SIMPLE_JSON
from mirror.store.download import DownloadCheck, check_download, request_mirror
from mirror.upstreams import UPSTREAM_PATH
from mirror.warm.request import (
    MissingDistribution,
    RequestedRelease,
    WarmProgress,
    WarmReport,
    WarmRequest,
)
from mirror.wheels import TargetEnvironment, allows_python, parse_version, select_files

DEFAULT_CONCURRENCY = 8  # requests; more would only queue at the upstream
_RETRY_SECONDS = 90.0  # how long to retry one page or file while the mirror fails
_REPORT_INTERVAL = 1.0  # seconds between two lines of progress
_TRANSIENT_STATUSES = {0, 429, 500, 502, 503, 504}  # 0: no answer

OnProgress = Callable[[WarmProgress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFile:
    """A file listed on a project's page. ``size`` in bytes, 0 if the page does not give it."""

    filename: str
    url: str
    sha256: str
    size: int
    requires_python: str = ""
    yanked: bool = False


class _NotAvailable(Exception):
    """The index does not have a release; the message says why."""


def warm(
    index: str,
    request: WarmRequest,
    *,
    on_progress: OnProgress,
    concurrency: int = DEFAULT_CONCURRENCY,
) -> WarmReport:
    """Fetch the pages of all releases, then their files. ``index`` is a URL ending in /+simple/."""
    start = time.monotonic()
    with ThreadPoolExecutor(concurrency) as pool:
        files, missing = _find_files(pool, index, request, on_progress)
        fetched, size, failed = _fetch_files(pool, files, on_progress)
    return WarmReport(
        projects=len(request.releases),
        files=fetched,
        size=size,
        misses=tuple(sorted(missing + failed, key=lambda miss: miss.name)),
        seconds=round(time.monotonic() - start, 1),
    )


def _find_files(
    pool: ThreadPoolExecutor, index: str, request: WarmRequest, on_progress: OnProgress
) -> tuple[list[IndexFile], list[MissingDistribution]]:
    """Return the files of all releases, each once, and the releases that are not available."""
    files: dict[str, IndexFile] = {}
    missing = []
    searches = {
        pool.submit(_find_release_files, index, release, request.target): release
        for release in request.releases
    }
    for done, search in enumerate(as_completed(searches), start=1):
        release = searches[search]
        try:
            files.update((file.url, file) for file in search.result())
        except _NotAvailable as error:
            is_pinned = release.specifier.startswith("==")
            name = release.name + (release.specifier if is_pinned else "")
            missing.append(MissingDistribution(name=name, why=str(error)))
        on_progress(WarmProgress(step="pages", done=done, total=len(searches), text=release.name))
    return list(files.values()), missing


def _fetch_files(
    pool: ThreadPoolExecutor, files: Sequence[IndexFile], on_progress: OnProgress
) -> tuple[int, int, list[MissingDistribution]]:
    """Return the number and size of fetched files, and the files that failed."""
    start = time.monotonic()
    fetched = size = 0
    failed = []
    total_size = sum(file.size for file in files)
    # largest first, so that the end does not wait for one large file
    ordered = sorted(files, key=lambda file: -file.size)
    downloads = {pool.submit(_download, file): file for file in ordered}
    for done, download in enumerate(as_completed(downloads), start=1):
        check = download.result()
        size += check.size
        fetched += check.ok
        if not check.ok:
            failed.append(MissingDistribution(name=downloads[download].filename, why=check.why))
        share = size / total_size if total_size else done / len(downloads)
        elapsed = time.monotonic() - start
        on_progress(
            WarmProgress(
                step="files",
                done=done,
                total=len(downloads),
                text=f"{size / 1e6:.0f} of {total_size / 1e6:.0f} MB",
                left=max(elapsed / share - elapsed, 0.0) if share else None,
            )
        )
    return fetched, size, failed


def _find_release_files(
    index: str, release: RequestedRelease, target: TargetEnvironment
) -> list[IndexFile]:
    """Return the files of a release that ``target`` installs. Raises _NotAvailable."""
    if release.upstream:
        index = urljoin(index, f"/{UPSTREAM_PATH}/{release.upstream}/+simple/")
    url = f"{index}{quote(release.name)}/"
    try:
        files = wait_until(
            lambda: _read_page(url),
            deadline=Deadline.after(_RETRY_SECONDS),
            what="the page",
            max_interval=5.0,
        )
    except (WaitTimeout, MirrorError) as error:
        raise _NotAvailable(error.why or error.what) from error
    return _select_files(files, release, target)


def _select_files(
    files: Sequence[IndexFile], release: RequestedRelease, target: TargetEnvironment
) -> list[IndexFile]:
    """Return those of a page's files that a release needs. Raises _NotAvailable."""
    versions = _select_versions(files, release)
    pinned = [file for file in versions if not release.hashes or file.sha256 in release.hashes]
    if not pinned:
        raise _NotAvailable(
            "the index has this release, but none of its files has a hash of the lock"
        )
    selected: dict[IndexFile, None] = {}
    for python in target.pythons:
        selected |= dict.fromkeys(_select_for_python(pinned, versions, python, target))
    if not selected:
        pythons, machines = ", ".join(target.pythons), ", ".join(target.machines)
        raise _NotAvailable(f"no wheel for Python {pythons} on Linux {machines}, and no sdist")
    return list(selected)


def _select_versions(
    files: Sequence[IndexFile], release: RequestedRelease
) -> dict[IndexFile, Version]:
    """Return the files that a specifier allows and their versions. Raises _NotAvailable.

    As installers do, it takes a yanked file only if the specifier pins its version, and a
    prerelease only if the specifier names one or there is nothing else.
    """
    allowed = SpecifierSet(release.specifier)
    is_pinned = release.specifier.startswith("==") and "*" not in release.specifier
    versions = {
        file: version
        for file in files
        if (version := parse_version(file.filename, release.name)) is not None
        and allowed.contains(version, prereleases=True)
    }
    usable = {file: version for file, version in versions.items() if is_pinned or not file.yanked}
    if not (is_pinned or allowed.prereleases):
        usable = {file: v for file, v in usable.items() if not v.is_prerelease} or usable
    if not usable:
        reason = "that is not yanked" if versions else release.specifier or "with a valid version"
        raise _NotAvailable(f"the index has no release {reason}")
    return usable


def _select_for_python(
    files: Sequence[IndexFile],
    versions: Mapping[IndexFile, Version],
    python: str,
    target: TargetEnvironment,
) -> list[IndexFile]:
    """Return the files of the newest release that can be installed with one Python."""
    one_python = replace(target, pythons=(python,))
    for newest in sorted({versions[file] for file in files}, reverse=True):
        release = [
            file
            for file in files
            if versions[file] == newest and allows_python(file.requires_python, python)
        ]
        names = set(select_files([file.filename for file in release], one_python))
        if names:
            return [file for file in release if file.filename in names]
    return []


def _read_page(url: str) -> list[IndexFile] | None:
    """Return a page's files, None if a retry may help. Raises MirrorError for a final answer."""
    try:
        with request_mirror(url, accept=SIMPLE_JSON, timeout=_RETRY_SECONDS) as response:
            body = response.read()
            page = json.loads(body) if response.status == 200 else None
    except (HTTPError, OSError, ValueError):
        return None
    if response.status == 404:
        raise MirrorError("no index has a project of this name")
    if response.status == 403:
        raise MirrorError(body.decode("utf-8", "replace").strip()[:300])
    if response.status in _TRANSIENT_STATUSES:
        return None
    if response.status != 200:
        raise MirrorError("the page", why=f"the mirror responds with status {response.status}")
    if not isinstance(page, dict):
        raise MirrorError("the page", why="the mirror's response is not a project page")
    return _parse_page(final_url(response, url), page)


def _parse_page(url: str, page: dict[str, Any]) -> list[IndexFile]:
    """Parse a page in the JSON format of the simple API (PEP 691); ``url`` is its own URL."""
    return [
        IndexFile(
            filename=str(file.get("filename", "")),
            url=urljoin(url, str(file.get("url", ""))).partition("#")[0],
            sha256=str((file.get("hashes") or {}).get("sha256", "")).lower(),
            size=int(file.get("size") or 0),
            requires_python=str(file.get("requires-python") or ""),
            yanked=bool(file.get("yanked")),
        )
        for file in page.get("files", [])
    ]


def _download(file: IndexFile) -> DownloadCheck:
    """Download a file; retry errors that may go away. Returns the last result."""
    result = DownloadCheck(status=0, why="not requested yet")

    def attempt() -> DownloadCheck | None:
        nonlocal result
        result = check_download(file.url, file.sha256)
        return None if result.status in _TRANSIENT_STATUSES and not result.ok else result

    try:
        deadline = Deadline.after(_RETRY_SECONDS)
        return wait_until(attempt, deadline=deadline, what="the file", max_interval=5.0)
    except WaitTimeout:
        return result


def main() -> int:
    """Run a request; print its progress and finally its report as lines of JSON."""
    parser = argparse.ArgumentParser(prog="mirror.warm", description=__doc__)
    parser.add_argument("--index", required=True, help="URL of the simple index")
    parser.add_argument("--order", type=Path, required=True, help="the request, as a file")
    parser.add_argument(
        "--at-once", type=int, default=DEFAULT_CONCURRENCY, help="requests at the same time"
    )
    options = parser.parse_args()
    request = WarmRequest.from_bytes(options.order.read_bytes())
    printed_at = 0.0

    def print_progress(progress: WarmProgress) -> None:
        nonlocal printed_at
        is_last = progress.done == progress.total
        if is_last or time.monotonic() - printed_at >= _REPORT_INTERVAL:
            printed_at = time.monotonic()
            print(json.dumps(asdict(progress)), flush=True)

    os.nice(5)  # installs by pods have priority
    report = warm(options.index, request, on_progress=print_progress, concurrency=options.at_once)
    print(json.dumps({"report": asdict(report)}), flush=True)
    return 0
