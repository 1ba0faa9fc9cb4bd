"""List the files that should be on the volume, and the hash that each of them should have."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote

from packaging.utils import canonicalize_name

from mirror import volume
from mirror.core.codec import json_key
from mirror.settings import MIRROR_INDEX
from mirror.store.database import iter_database_files
from mirror.store.digests import BLAKE2B
from mirror.upstreams import UPSTREAM_PATH


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file that should be there.

    ``kind``: a project page, a distribution ("file"), or a folder whose distribution is missing.
    ``hash_spec`` is ALGORITHM=HEX, empty if unknown. ``url`` is the path on the index from which
    the mirror fetches the file again; None for uploads, and for pages, which the next request
    fetches. ``companions`` are removed together with the file.
    """

    path: Path
    is_private: bool = False
    kind: Literal["file", "page", "folder"] = "file"
    hash_spec: str = ""
    url: str | None = None
    companions: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateProject:
    """A private project and its uploads; a reserved name has none."""

    name: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedProject:
    """A public project with a stored page or stored files; ``size`` in bytes."""

    name: str
    files: int
    size: int = field(metadata=json_key("bytes"))


def list_private_projects(data: Path) -> tuple[PrivateProject, ...]:
    """Return the private projects on a volume, by name: those with a marker or an upload."""
    files: dict[str, list[str]] = {}
    with suppress(OSError):
        files |= {marker.name: [] for marker in (data / volume.PRIVATE).iterdir()}
    for upload in iter_uploads(data):
        files.setdefault(_read_project(upload.path.name), []).append(upload.path.name)
    return tuple(PrivateProject(name=n, files=tuple(sorted(files[n]))) for n in sorted(files))


def list_cached_projects(public: Path) -> tuple[CachedProject, ...]:
    """Return the public projects that have anything in the cache, sorted by name."""
    counts: dict[str, tuple[int, int]] = {}

    def add(name: str, files: int, size: int) -> None:
        before = counts.get(name, (0, 0))
        counts[name] = before[0] + files, before[1] + size

    for root in (public, *volume.list_upstream_folders(public)):
        for folder in (volume.LINKS, volume.FILES):
            with suppress(OSError):
                for path in (root / folder).iterdir():
                    add(path.name, *(count_files(path) if folder == volume.FILES else (0, 0)))
        for package in (root / volume.PACKAGES).glob("*/*/*/"):
            for path in package.iterdir():
                if not path.name.endswith((volume.METADATA_SUFFIX, volume.HASH_SUFFIX)):
                    add(_read_project(path.name), 1, path.stat().st_size)
    return tuple(
        CachedProject(name=name, files=number, size=size)
        for name, (number, size) in sorted(counts.items())
    )


def _read_project(filename: str) -> str:
    """Return the project of a wheel or an sdist, from its name."""
    stem = filename.removesuffix(".tar.gz").removesuffix(".zip")
    name = filename.split("-")[0] if filename.endswith(".whl") else stem.rpartition("-")[0]
    return str(canonicalize_name(name or filename))


def iter_stored_files(data: Path) -> Iterator[StoredFile]:
    """Yield every stored file; a folder without its distribution stands for the missing file."""
    public = data / volume.PUBLIC
    yield from _iter_cached_files(public, f"/{MIRROR_INDEX}/+f", f"/{volume.PACKAGES}")
    yield from _iter_pages(public, public / volume.FRESH)
    for folder in volume.list_upstream_folders(public):
        url = f"/{UPSTREAM_PATH}/{folder.name}"
        yield from _iter_cached_files(folder, f"{url}/+f", f"{url}/{volume.PACKAGES}")
        yield from _iter_pages(folder, public / volume.FRESH)
    yield from _iter_devpi_files(data)


def iter_uploads(data: Path) -> Iterator[StoredFile]:
    """Yield the private files: no upstream has them."""
    yield from (file for file in _iter_devpi_files(data) if file.is_private)


def is_page_intact(path: Path) -> bool:
    """Check that a page is valid JSON and that the .gz copies of both its forms match it."""
    try:
        document = json.loads(path.read_bytes())
        for page in (path, path.with_suffix(".html")):
            packed = volume.with_suffix(page, volume.GZIP_SUFFIX)
            both_exist = page.exists() and packed.exists()
            if both_exist and gzip.decompress(packed.read_bytes()) != page.read_bytes():
                return False
    except FileNotFoundError:
        return True  # a newer page replaced it while we were reading
    except (OSError, ValueError, EOFError, zlib.error):
        return False
    return isinstance(document, dict) and isinstance(document.get("files"), list)


def count_files(*folders: Path) -> tuple[int, int]:
    """Count the distributions below some folders; returns their number and size in bytes."""
    number = size = 0
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in names:
                if not name.endswith((volume.METADATA_SUFFIX, volume.HASH_SUFFIX)):
                    with suppress(OSError):
                        size += (Path(parent) / name).stat().st_size
                        number += 1
    return number, size


def _iter_pages(public: Path, fresh: Path) -> Iterator[StoredFile]:
    """Yield the pages of one upstream; ``fresh`` is where nginx finds them."""
    pages = (public / volume.PAGES, public / volume.SHOWN)
    for path in sorted(path for folder in pages for path in folder.glob("*.json")):
        project = path.name.removesuffix(".json")
        forms = [
            folder / f"{project}.{kind}" for folder in (fresh, *pages) for kind in volume.PAGE_KINDS
        ]
        packed = [volume.with_suffix(form, volume.GZIP_SUFFIX) for form in forms]
        links = volume.links_path(public, project)
        yield StoredFile(path=path, kind="page", companions=(*forms, *packed, links))


def _iter_cached_files(public: Path, files_url: str, packages_url: str) -> Iterator[StoredFile]:
    """Yield the files of one upstream; its folder and its two paths on the mirror are given."""
    for project in sorted((public / volume.FILES).glob("*/")):
        metadata = _read_metadata_hashes(volume.links_path(public, project.name))
        for folder in sorted(project.glob("*/")):
            yield from _iter_folder(folder, metadata, files_url)
    for folder in sorted((public / volume.PACKAGES).glob("*/*/*/")):
        yield from _iter_package_folder(folder, packages_url)


def _iter_package_folder(folder: Path, url: str) -> Iterator[StoredFile]:
    """Yield the distributions in one folder of the upstream's path, and their core metadata."""
    files = {path.name: path for path in sorted(folder.iterdir()) if path.is_file()}
    parts = folder.parts[-3:]
    root = f"{url}/{'/'.join(parts)}"
    if all(name.endswith(volume.HASH_SUFFIX) for name in files):
        yield StoredFile(path=folder, kind="folder")
    for name, path in files.items():
        if name.endswith(volume.HASH_SUFFIX):
            continue
        measured = volume.with_suffix(path, volume.HASH_SUFFIX)
        is_metadata = name.endswith(volume.METADATA_SUFFIX)
        yield StoredFile(
            path=path,
            hash_spec=_read_measured_hash(path) if is_metadata else f"{BLAKE2B}={''.join(parts)}",
            url=f"{root}/{quote(name)}",
            companions=(measured,) if is_metadata else (),
        )


def _iter_folder(
    folder: Path, metadata: Mapping[tuple[str, str], str], url: str
) -> Iterator[StoredFile]:
    """Yield the distribution in one folder, and its core metadata if that was fetched."""
    extra = (volume.HASH_SUFFIX, volume.METADATA_SUFFIX)
    project = folder.parent.name
    files = [path for path in folder.iterdir() if path.is_file()]
    distributions = [path for path in files if not path.name.endswith(extra)]
    if not distributions:
        # the filename is lost; the folder's hash is enough to remove it
        yield StoredFile(path=folder, kind="folder")
    root = f"{url}/{project}/{folder.name}"
    for path in distributions:
        core_metadata = volume.with_suffix(path, volume.METADATA_SUFFIX)
        yield StoredFile(
            path=path,
            hash_spec=_read_hash_spec(path),
            url=f"{root}/{quote(path.name)}",
            companions=(volume.with_suffix(path, volume.HASH_SUFFIX), core_metadata),
        )
        if core_metadata.exists():
            digest = metadata.get((folder.name, path.name), "")
            yield StoredFile(
                path=core_metadata,
                hash_spec=f"sha256={digest}" if digest else "",
                url=f"{root}/{quote(core_metadata.name)}",
            )


def _read_metadata_hashes(links: Path) -> dict[tuple[str, str], str]:
    """Read the SHA-256 of core metadata files from a links record, by (folder, filename)."""
    hashes = {}
    with suppress(OSError, UnicodeDecodeError):
        for line in links.read_text().splitlines():
            fields = line.split(" ")
            if len(fields) >= 4 and len(fields[3]) == 64:
                hashes[fields[0], unquote(fields[1])] = fields[3]
    return hashes


def _read_hash_spec(path: Path) -> str:
    """Return the hash in the folder's name, or the one measured when the file was downloaded."""
    folder = path.parent.name
    if len(folder) == 64 and all(letter in "0123456789abcdef" for letter in folder):
        return f"sha256={folder}"
    return _read_measured_hash(path)


def _read_measured_hash(path: Path) -> str:
    try:
        return f"sha256={volume.with_suffix(path, volume.HASH_SUFFIX).read_text().strip()}"
    except (OSError, UnicodeDecodeError):
        return ""


def _iter_devpi_files(data: Path) -> Iterator[StoredFile]:
    devpi = data / volume.DEVPI
    if not (devpi / volume.DEVPI_DATABASE).exists():
        return
    for file in iter_database_files(devpi):
        # devpi serves public packages only where no cache does
        if not file.is_private and (data / volume.PUBLIC).exists():
            continue
        relative = file.path.relative_to(devpi / volume.DEVPI_FILES).as_posix()
        url = None if file.is_private else f"/{relative}"
        yield StoredFile(
            path=file.path, is_private=file.is_private, hash_spec=file.hash_spec, url=url
        )
