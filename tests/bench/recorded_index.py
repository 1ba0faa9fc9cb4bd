"""Record the pages and files of Chronicle's lock from the public index, once.

The record lies in the test cache, outside the repository. A local mirror fetches it, as
`mirror warm` does for a user with this lock; later runs use only the record.
"""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

from mirror.cache.package_paths import PACKAGES_PATH, PackagePath
from mirror.cache.page_store import PageStore
from mirror.core.wait import Deadline
from mirror.local.mirror import LocalMirror
from mirror.local.processes import find_free_port
from mirror.lock import PinnedDistribution, read_lock
from mirror.warm.request import build_warm_request
from mirror.warm.worker import warm
from mirror.wheels import TargetEnvironment
from tests.cluster.cache import cache_root, digest, hold_lock

PYTHON = (3, 12)  # the version that Chronicle uses
LOCK = Path(__file__).parents[1] / "data/chronicle/requirements.txt"
_ENVIRONMENT = TargetEnvironment(pythons=("3.12",), machines=("x86_64",))
_CONNECTIONS = 4  # fewer than an ordinary installer opens
_LINK_START = f'"url":"../../../../{PACKAGES_PATH}/'.encode()  # as the mirror writes it


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedProject:
    """A recorded project: the body of its page, and one file."""

    name: str
    version: str
    page: Path
    file: Path
    url: str  # of the file, as the page has it
    sha256: str


def read_pins() -> Iterator[PinnedDistribution]:
    """Yield the pins that apply to CPython 3.12 on Linux."""
    for pin in read_lock(str(LOCK)).pins:
        if _ENVIRONMENT.satisfies_marker(pin.marker):
            yield pin


def record_index() -> tuple[RecordedProject, ...]:
    """Return the record; make it first if there is none."""
    folder = cache_root() / f"public-index-{digest(LOCK.read_bytes(), repr(PYTHON))}"
    with hold_lock("public-index"):
        index = folder / "index.json"
        if not index.exists():
            for name in ("pages", "files"):
                (folder / name).mkdir(parents=True, exist_ok=True)
            with _warm_mirror(folder / "mirror") as store:
                projects = [_record_project(store, folder, pin) for pin in read_pins()]
            index.write_text(json.dumps([project for project in projects if project], indent=1))
            shutil.rmtree(folder / "mirror")
    entries: list[dict[str, str]] = json.loads((folder / "index.json").read_text())
    return tuple(
        RecordedProject(
            name=entry["name"],
            version=entry["version"],
            page=folder / "pages" / entry["name"],
            file=folder / "files" / entry["filename"],
            url=entry["url"],
            sha256=entry["sha256"],
        )
        for entry in entries
    )


@contextmanager
def _warm_mirror(home: Path) -> Iterator[PageStore]:
    """Fetch the lock as `mirror warm` does; yield what the mirror has stored."""
    request, _ = build_warm_request(list(read_pins()), _ENVIRONMENT)
    local = LocalMirror(home)
    status = local.up(overrides={"port": find_free_port()}, deadline=Deadline.after(180))
    try:
        report = warm(
            status.endpoint.url,
            request,
            on_progress=lambda _: None,
            concurrency=_CONNECTIONS,
        )
        assert not report.misses, report.misses
        yield PageStore(local.paths.cache_dir)
    finally:
        local.down(purge=False)


def _record_project(
    store: PageStore, folder: Path, pin: PinnedDistribution
) -> dict[str, str] | None:
    """Undo what the mirror did to a page, and take its file."""
    stored = store.find_page(pin.name)
    assert stored is not None and stored.origin, f"the links of {pin.name} are not reversible"
    body = store.page_path(pin.name, "json").read_bytes()
    body = body.replace(_LINK_START, f'"url":"{stored.origin}'.encode())
    (folder / "pages" / pin.name).write_bytes(body)
    chosen = _choose_file(json.loads(body)["files"], pin)
    if chosen is None:
        return None
    file = folder / "files" / chosen["filename"]
    path = PackagePath.parse(chosen["url"].removeprefix(stored.origin).split("/"))
    assert path is not None
    store.package_path(path).replace(file)
    if chosen.get("core-metadata"):
        file.with_name(f"{file.name}.metadata").write_bytes(_read_metadata(file))
    return {
        "name": pin.name,
        "version": pin.version,
        "filename": str(chosen["filename"]),
        "url": str(chosen["url"]),
        "sha256": str(chosen["hashes"]["sha256"]),
    }


def _read_metadata(wheel: Path) -> bytes:
    """Return the core metadata of a wheel, which indexes serve beside it (PEP 658)."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n))
        return archive.read(name)


def _choose_file(files: list[dict[str, Any]], pin: PinnedDistribution) -> dict[str, Any] | None:
    """Return the file that an installer picks on current Debian: the best wheel, or the sdist."""
    platforms = [f"manylinux_2_{n}_x86_64" for n in range(36, 4, -1)]
    platforms += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"]
    platforms += ["linux_x86_64"]
    ranks: dict[Tag, int] = {}
    for tag in cpython_tags(PYTHON, platforms=platforms):
        ranks.setdefault(tag, len(ranks))
    for tag in compatible_tags(PYTHON, "cp312", platforms):
        ranks.setdefault(tag, len(ranks))
    locked = [file for file in files if file["hashes"].get("sha256") in pin.sha256_digests]
    wheels = [
        (ranks[tag], number)
        for number, file in enumerate(locked)
        if file["filename"].endswith(".whl")
        for tag in parse_wheel_filename(file["filename"])[3]
        if tag in ranks
    ]
    if wheels:
        return locked[min(wheels)[1]]
    return locked[0] if locked else None
