"""Pages and files of the cache on the volume (mirror/volume.py has the paths).

A file is written in ``partial/`` and renamed when it is complete.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from itertools import count
from pathlib import Path

from isal import igzip

from mirror import volume
from mirror.cache.names import quote_filename
from mirror.cache.package_paths import PackagePath
from mirror.cache.page_entries import find_entries, find_entry
from mirror.cache.project_page import ProjectPage, load_document, render_html
from mirror.store.digests import BLAKE2B
from mirror.store.inventory import count_files
from mirror.volume import GZIP_SUFFIX, METADATA_SUFFIX, PAGE_KINDS

MIN_FREE_BYTES = 1024**2  # with less free space the volume counts as full: hardly any page fits


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPage:
    """The state of a stored page: the upstream's ETag, and when it was last current (epoch).

    ``origin`` is what precedes the paths of its files, empty if they have none.
    """

    etag: str
    checked_at: float
    origin: str = ""

    @property
    def age(self) -> float:
        """Seconds since it was current; infinite if that is in the future, by a wrong clock."""
        age = time.time() - self.checked_at
        return age if age >= 0 else float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeUsage:
    """Free and total bytes of the volume; ``full``: no space for the last refused write."""

    free: int
    size: int
    full: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSource:
    """The URL of a file. Its content must match every hex digest in ``hashes``, by algorithm."""

    url: str
    hashes: Mapping[str, str]


class PageStore:
    """The folders of one upstream, below ``root``. Thread-safe.

    ``fresh`` is where nginx looks for pages, ``prefix`` what precedes the paths of the files of
    this upstream on the mirror, such as "+upstream/torch/". With a policy, clients get the pages
    in ``shown/``; those in ``pages/`` list all files.
    """

    def __init__(
        self,
        root: Path,
        *,
        fresh: Path | None = None,
        prefix: str = "",
        has_policy: bool = False,
    ) -> None:
        self.root = root
        self.fresh = fresh or root / volume.FRESH
        self.prefix = prefix
        self._served = root / (volume.SHOWN if has_policy else volume.PAGES)
        self.largest_refused = 0  # bytes of the largest write since the start that did not fit
        self._number = count()
        self.create_folders()

    def create_folders(self) -> None:
        """Create the folders, also after somebody has removed them."""
        for name in volume.PUBLIC_FOLDERS:
            (self.root / name).mkdir(mode=0o755, parents=True, exist_ok=True)

    def prepare_for(self, upstream: str) -> None:
        """Clear what the last run left: fresh pages, partial files, another upstream's pages."""
        for folder in (self.root / volume.FRESH, self.root / volume.PARTIAL):
            for path in folder.iterdir():
                path.unlink()
        record = self.root / "upstream"
        if not record.exists() or record.read_text() != upstream:
            for name in (volume.LINKS, volume.PAGES):
                shutil.rmtree(self.root / name)
                (self.root / name).mkdir(mode=0o755)
            (self.root / volume.ORIGIN).unlink(missing_ok=True)
            self._write((record, upstream.encode()))

    # -- pages ----------------------------------------------------------------------------------

    def page_path(self, project: str, kind: str) -> Path:
        return volume.page_path(self.root, project, kind)

    def served_path(self, project: str, kind: str) -> Path:
        """Return the path of a page as clients get it."""
        return self._served / f"{project}.{kind}"

    def save_shown_page(self, project: str, document: Mapping[str, object]) -> None:
        """Replace the page that clients get."""
        body = json.dumps(document, separators=(",", ":")).encode()
        self._write(*_with_gzip(self.served_path(project, "json"), body))
        self._remove(self.served_path(project, "html"))
        self.unpublish(project)

    def find_page(self, project: str) -> StoredPage | None:
        """Return the state of a page; None if it is missing or incomplete."""
        try:
            with volume.links_path(self.root, project).open("rb") as links:
                header = json.loads(links.readline())
                if self.page_path(project, "json").stat().st_size != header["size"]:
                    return None
                checked_at = os.fstat(links.fileno()).st_mtime
                origin = str(header.get("origin", ""))
                return StoredPage(etag=header["etag"], checked_at=checked_at, origin=origin)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save_page(self, project: str, page: ProjectPage, etag: str) -> None:
        """Replace a page. Its links are renamed into place first: no page exists without them."""
        header = json.dumps({"etag": etag, "size": len(page.body), "origin": page.origin})
        if page.origin and page.origin != self.read_origin():
            self._write((self.root / volume.ORIGIN, page.origin.encode()))
        self._write(
            (volume.links_path(self.root, project), (header + page.links).encode()),
            *_with_gzip(self.page_path(project, "json"), page.body),
        )
        self._remove(self.served_path(project, "html"))
        self.unpublish(project)

    def mark_checked(self, project: str) -> None:
        """Record that the upstream still has the same page."""
        with suppress(FileNotFoundError):  # removed in the meantime
            os.utime(volume.links_path(self.root, project))

    def remove_page(self, project: str) -> None:
        """Remove the page of a project; its files stay, since somebody's lock may name them."""
        self.unpublish(project)
        for kind in PAGE_KINDS:
            self._remove(self.page_path(project, kind))
            self._remove(self.served_path(project, kind))
        volume.links_path(self.root, project).unlink(missing_ok=True)

    def publish(self, project: str, kind: str) -> None:
        """Let nginx serve the page without a request to the cache."""
        source = self.served_path(project, kind)
        target = self.fresh / source.name
        for suffix in (GZIP_SUFFIX, ""):  # the file that nginx looks for comes last
            link = self.new_partial_path()
            os.link(f"{source}{suffix}", link)
            link.rename(f"{target}{suffix}")
            link.unlink(missing_ok=True)  # rename does nothing if both are the same file

    def ensure_html(self, project: str) -> Path:
        """Return the path of a stored page's HTML form; renders it on first use."""
        path = self.served_path(project, "html")
        if not path.exists():
            document = load_document(self.served_path(project, "json").read_bytes())
            self._write(*_with_gzip(path, render_html(document)))
        return path

    def unpublish(self, project: str, kinds: tuple[str, ...] = PAGE_KINDS) -> None:
        """Make nginx ask the cache again."""
        for kind in kinds:
            self._remove(self.fresh / f"{project}.{kind}")

    # -- files ----------------------------------------------------------------------------------

    def file_path(self, project: str, folder: str, filename: str) -> Path:
        return self.root / volume.FILES / project / folder / filename

    def package_path(self, path: PackagePath) -> Path:
        folder = self.root / volume.PACKAGES / path.first / path.second / path.rest
        return folder / path.filename

    def read_origin(self) -> str:
        """Return what precedes the paths of files at the upstream; empty if no page told yet."""
        try:
            return (self.root / volume.ORIGIN).read_text()
        except OSError:
            return ""

    def find_source(
        self, project: str, folder: str, filename: str, unsaved: ProjectPage | None = None
    ) -> FileSource | None:
        """Look up a file's source on its stored page, or on one ``unsaved`` on a full volume."""
        name = filename.removesuffix(METADATA_SUFFIX)
        try:
            stored = volume.links_path(self.root, project)
            links = unsaved.links.encode() if unsaved else stored.read_bytes()
        except OSError:
            return None
        start = links.find(f"\n{folder} {quote_filename(name)} ".encode())
        if start < 0:
            return None
        line = links[start + 1 : links.index(b"\n", start + 1)].decode()
        _, _, url, metadata, *others = line.split(" ")
        if name == filename:
            hashes = dict(pair.split("=") for pair in others[0].split(",")) if others else {}
            if not folder.startswith(volume.URL_PREFIX):
                hashes["sha256"] = folder
            return FileSource(url=url, hashes=hashes)
        if metadata == "-":
            return None
        hashes = {} if metadata == "?" else {"sha256": metadata}
        return FileSource(url=url + METADATA_SUFFIX, hashes=hashes)

    def find_package(
        self, project: str, path: PackagePath, unsaved: ProjectPage | None = None
    ) -> FileSource | None:
        """Look up the source of a file by its path on the page of a project."""
        body, origin = self._read_page(project, unsaved)
        ends = path.distribution.spellings if origin else ()
        entry = next(filter(None, (find_entry(body, end) for end in ends)), None)
        if entry is None:
            return None
        if not path.is_metadata:
            hashes = {"sha256": entry.sha256} if entry.sha256 else {}
            return FileSource(url=f"{origin}{path}", hashes=hashes | {BLAKE2B: path.blake2b})
        if entry.metadata_sha256 is None:
            return None
        hashes = {"sha256": entry.metadata_sha256} if entry.metadata_sha256 else {}
        return FileSource(url=f"{origin}{path}", hashes=hashes)

    def find_package_path(
        self, project: str, sha256: str, filename: str, unsaved: ProjectPage | None = None
    ) -> PackagePath | None:
        """Return the path of the file with this hash and name: links of older versions have it."""
        body, origin = self._read_page(project, unsaved)
        name = filename.removesuffix(METADATA_SUFFIX)
        if not origin:
            return None
        ends = dict.fromkeys((f"/{quote_filename(name)}", f"/{name}"))
        for entry in (entry for end in ends for entry in find_entries(body, end)):
            if entry.sha256 == sha256:
                _, _, path = entry.url.rpartition(f"/{volume.PACKAGES}/")
                return PackagePath.parse((*path.split("/")[:3], filename))
        return None

    def _read_page(self, project: str, unsaved: ProjectPage | None) -> tuple[bytes, str]:
        """Return a page as JSON and its origin; both empty if it is not stored."""
        if unsaved is not None:
            return unsaved.body, unsaved.origin
        stored = self.find_page(project)
        try:
            if stored is not None and stored.origin:
                return self.page_path(project, "json").read_bytes(), stored.origin
        except OSError:
            pass
        return b"", ""

    def new_partial_path(self) -> Path:
        """Return an unused path below ``partial/``."""
        name = f"{os.getpid()}-{time.time_ns()}-{next(self._number)}"
        return self.root / volume.PARTIAL / name

    def create_partial(self) -> tuple[Path, FileIO]:
        """Create an empty file below ``partial/``."""
        path = self.new_partial_path()
        try:
            return path, FileIO(path, "wb")
        except FileNotFoundError:
            self.create_folders()
            return path, FileIO(path, "wb")

    def commit_file(self, partial: Path, target: Path, sha256: str) -> None:
        """Rename a complete file into place; ``sha256`` was measured while it was written.

        That hash is kept if the path does not hold one of the file.
        """
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        is_package = target.is_relative_to(self.root / volume.PACKAGES)
        is_metadata = target.name.endswith(METADATA_SUFFIX)
        if target.parent.name.startswith(volume.URL_PREFIX) or (is_package and is_metadata):
            self._write((volume.with_suffix(target, volume.HASH_SUFFIX), sha256.encode()))
        partial.rename(target)

    def adopt_file(self, source: Path, target: Path) -> bool:
        """Link a stored file to another path of the same file; returns whether there is one."""
        if not source.exists():
            return False  # an empty folder would stand for a missing file
        try:
            target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            os.link(source, target)
        except FileExistsError:
            return True
        except OSError:
            return False
        return True

    def record_if_full(self, error: OSError, size: int) -> bool:
        """Return whether a write of ``size`` bytes failed for lack of space, and remember it."""
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            return False
        self.largest_refused = max(self.largest_refused, size)
        return True

    def measure_volume(self) -> VolumeUsage:
        usage = shutil.disk_usage(self.root)
        full = usage.free < max(self.largest_refused, MIN_FREE_BYTES)
        return VolumeUsage(free=usage.free, size=usage.total, full=full)

    def count_contents(self) -> dict[str, int]:
        """Count pages, files, and the bytes of the files."""
        files, size = count_files(self.root / volume.FILES, self.root / volume.PACKAGES)
        pages = len(list((self.root / volume.LINKS).glob("*")))
        return {"pages": pages, "files": files, "bytes": size}

    def _remove(self, page: Path) -> None:
        page.unlink(missing_ok=True)
        volume.with_suffix(page, GZIP_SUFFIX).unlink(missing_ok=True)

    def _write(self, *files: tuple[Path, bytes]) -> None:
        """Write all files, then rename all into place: a full volume keeps the old ones."""
        try:
            self._replace(files)
        except FileNotFoundError:
            self.create_folders()
            self._replace(files)

    def _replace(self, files: Sequence[tuple[Path, bytes]]) -> None:
        written: list[tuple[Path, Path]] = []
        try:
            for path, content in files:
                written.append((self.new_partial_path(), path))
                written[-1][0].write_bytes(content)
            for partial, path in written:
                partial.rename(path)
        except OSError as error:
            self.record_if_full(error, sum(len(content) for _, content in files))
            for partial, _ in written:
                partial.unlink(missing_ok=True)
            raise


def _with_gzip(path: Path, content: bytes) -> tuple[tuple[Path, bytes], tuple[Path, bytes]]:
    packed = igzip.compress(content, 1, mtime=0)  # a fifth of gzip's time, at the same size
    return (volume.with_suffix(path, GZIP_SUFFIX), packed), (path, content)
