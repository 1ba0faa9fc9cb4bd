"""Record the pages and files of Chronicle's lock from the public index, once.

The record lies in the test cache, outside the repository. An ordinary client fetches it at the
pace of an installer; later runs use only the record.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

from mirror.devpi import read_default_upstream
from mirror.lock import PinnedDistribution, read_lock
from mirror.settings import SIMPLE_JSON
from mirror.wheels import TargetEnvironment
from tests.cluster.cache import cache_root, digest, hold_lock

PYTHON = (3, 12)  # the version that Chronicle uses
LOCK = Path(__file__).parents[1] / "data/chronicle/requirements.txt"
_ENVIRONMENT = TargetEnvironment(pythons=("3.12",), machines=("x86_64",))
_CONNECTIONS = 4  # fewer than an ordinary installer opens


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
            with (
                httpx.Client(follow_redirects=True, timeout=60) as client,
                ThreadPoolExecutor(_CONNECTIONS) as pool,
            ):
                projects = list(
                    pool.map(lambda pin: _record_project(client, folder, pin), read_pins())
                )
            index.write_text(json.dumps([project for project in projects if project], indent=1))
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


def _record_project(
    client: httpx.Client, folder: Path, pin: PinnedDistribution
) -> dict[str, str] | None:
    page = folder / "pages" / pin.name
    if not page.exists():
        response = client.get(
            f"{read_default_upstream()}{pin.name}/", headers={"Accept": SIMPLE_JSON}
        )
        response.raise_for_status()
        page.write_bytes(response.content)
    chosen = _choose_file(json.loads(page.read_bytes())["files"], pin)
    if chosen is None:
        return None
    file = folder / "files" / chosen["filename"]
    sha256 = str(chosen["hashes"]["sha256"])
    if not file.exists() or hashlib.sha256(file.read_bytes()).hexdigest() != sha256:
        partial = file.with_suffix(".partial")
        with client.stream("GET", chosen["url"]) as response, partial.open("wb") as out:
            response.raise_for_status()
            for block in response.iter_bytes():
                out.write(block)
        assert hashlib.sha256(partial.read_bytes()).hexdigest() == sha256
        partial.rename(file)
    metadata = file.with_name(f"{file.name}.metadata")
    if (chosen.get("core-metadata") or False) and not metadata.exists():
        metadata.write_bytes(client.get(f"{chosen['url']}.metadata").raise_for_status().content)
    return {
        "name": pin.name,
        "version": pin.version,
        "filename": str(chosen["filename"]),
        "url": str(chosen["url"]),
        "sha256": sha256,
    }


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
