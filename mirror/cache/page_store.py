"""Where public pages and files lie on the volume. Whole things only: each is renamed into place.

files/<project>/<folder>/<file>   folder: the file's sha256, or url-<sha256 of its URL>
pages/<project>.json|.html        links/<project>: the upstream's URL of each of its files
fresh/<project>.json|.html        hard links to pages: nginx serves them without asking
partial/                          what is under way
"""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from mirror.cache import project_page as pages
from mirror.cache.names import METADATA_SUFFIX, quote_filename

PAGE_KINDS = ("json", "html")
MIN_FREE_BYTES = 1024**2  # bytes without which a volume is full: hardly a page finds room
_GZIP = ".gz"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPage:
    """A page that is there: the upstream's ETag, and when it was last found right (epoch)."""

    etag: str
    checked_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSource:
    """A file of a page: where it comes from; ``sha256`` empty where the page has none."""

    url: str
    sha256: str


class PageStore:
    """The folders below ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.largest_refused = 0  # bytes that found no room: the largest since the start
        self._number = count()
        for name in ("files", "pages", "links", "fresh", "partial"):
            (root / name).mkdir(mode=0o755, parents=True, exist_ok=True)

    def prepare_for(self, upstream: str) -> None:
        """At start: nothing is fresh or under way; pages of another upstream are forgotten."""
        for name in ("fresh", "partial"):
            for left in (self.root / name).iterdir():
                left.unlink()
        record = self.root / "upstream"
        if not record.exists() or record.read_text() != upstream:
            for name in ("links", "pages"):
                shutil.rmtree(self.root / name)
                (self.root / name).mkdir(mode=0o755)
            self._put((record, upstream.encode()))

    # -- pages ----------------------------------------------------------------------------------

    def page_path(self, project: str, kind: str) -> Path:
        return self.root / "pages" / f"{project}.{kind}"

    def find_page(self, project: str) -> StoredPage | None:
        """What is known of a page, if it is there and whole."""
        try:
            with self._links(project).open("rb") as links:
                told = json.loads(links.readline())
                if self.page_path(project, "json").stat().st_size != told["size"]:
                    return None
                return StoredPage(etag=told["etag"], checked_at=os.fstat(links.fileno()).st_mtime)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save_page(self, project: str, got: pages.ProjectPage, etag: str) -> None:
        """Put a page in the place of an older one. Its links first: no page without them."""
        content = got.body
        target = self.page_path(project, "json")
        head = json.dumps({"etag": etag, "size": len(content)})
        self._put((self._links(project), (head + got.links).encode()), *_with_gzip(target, content))
        self._remove(self.page_path(project, "html"))
        self.unpublish(project)

    def mark_checked(self, project: str) -> None:
        """The upstream says that the page is still right."""
        os.utime(self._links(project))

    def remove_page(self, project: str) -> None:
        """The project is gone. Its files stay: their URLs may be in somebody's lock."""
        self.unpublish(project)
        for kind in PAGE_KINDS:
            self._remove(self.page_path(project, kind))
        self._links(project).unlink(missing_ok=True)

    def publish(self, project: str, kind: str) -> None:
        """Let nginx serve the page without asking."""
        source = self.page_path(project, kind)
        fresh = self.root / "fresh" / source.name
        for suffix in (_GZIP, ""):  # last the one that nginx looks for
            beside = self._beside()
            os.link(f"{source}{suffix}", beside)
            beside.rename(f"{fresh}{suffix}")
            beside.unlink(missing_ok=True)  # rename does nothing where both are the same file

    def ensure_html(self, project: str) -> Path:
        """The HTML form of a page that is there; made when it is first asked for."""
        made = self.page_path(project, "html")
        if not made.exists():
            content = pages.render_html(
                pages.load_document(self.page_path(project, "json").read_bytes())
            )
            self._put(*_with_gzip(made, content))
        return made

    def unpublish(self, project: str, kinds: tuple[str, ...] = PAGE_KINDS) -> None:
        """nginx has to ask again."""
        for kind in kinds:
            self._remove(self.root / "fresh" / f"{project}.{kind}")

    # -- files ----------------------------------------------------------------------------------

    def file_path(self, project: str, folder: str, filename: str) -> Path:
        return self.root / "files" / project / folder / filename

    def find_source(
        self, project: str, folder: str, filename: str, unkept: pages.ProjectPage | None = None
    ) -> FileSource | None:
        """Where a file comes from, as the page said; None where no page names it.

        ``unkept`` is the page where the volume was full.
        """
        name = filename.removesuffix(METADATA_SUFFIX)
        try:
            links = unkept.links.encode() if unkept else self._links(project).read_bytes()
        except OSError:
            return None
        start = links.find(f"\n{folder} {quote_filename(name)} ".encode())
        if start < 0:
            return None
        line = links[start + 1 : links.index(b"\n", start + 1)].decode()
        _, _, url, metadata = line.split(" ")
        if name == filename:
            return FileSource(url=url, sha256="" if folder.startswith("url-") else folder)
        if metadata == "-":
            return None
        return FileSource(url=url + METADATA_SUFFIX, sha256=metadata.removeprefix("?"))

    def new_partial_path(self) -> Path:
        """A new place for what is under way."""
        return self._beside()

    def commit_file(self, partial: Path, target: Path, measured: str) -> None:
        """A whole file, written and hashed: on the disk before it is in its place."""
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if target.parent.name.startswith("url-"):
            self._put((target.with_name(f"{target.name}.sha256"), measured.encode()))
        partial.rename(target)

    def record_if_full(self, broken: OSError, size: int) -> bool:
        """Whether it was for want of room that ``size`` bytes could not be written; noted."""
        if broken.errno not in {errno.ENOSPC, errno.EDQUOT}:
            return False
        self.largest_refused = max(self.largest_refused, size)
        return True

    def measure_volume(self) -> dict[str, object]:
        """Its room. ``full``: none at all, or too little for something that was refused."""
        about = shutil.disk_usage(self.root)
        full = about.free < max(self.largest_refused, MIN_FREE_BYTES)
        return {"free": about.free, "size": about.total, "full": full}

    def count_contents(self) -> dict[str, int]:
        """Pages, files and their bytes."""
        files, size = count_files(self.root / "files")
        pages = sum(1 for one in os.scandir(self.root / "links") if one.is_file())
        return {"pages": pages, "files": files, "bytes": size}

    def _links(self, project: str) -> Path:
        return self.root / "links" / project

    def _beside(self) -> Path:
        return self.root / "partial" / f"{os.getpid()}-{time.time_ns()}-{next(self._number)}"

    def _remove(self, page: Path) -> None:
        page.unlink(missing_ok=True)
        page.with_name(page.name + _GZIP).unlink(missing_ok=True)

    def _put(self, *files: tuple[Path, bytes]) -> None:
        """Write all, then put all in their places: a full volume leaves the old ones."""
        written: list[tuple[Path, Path]] = []
        try:
            for path, content in files:
                written.append((self._beside(), path))
                written[-1][0].write_bytes(content)
            for beside, path in written:
                beside.rename(path)
        except OSError as broken:
            self.record_if_full(broken, sum(len(content) for _, content in files))
            for beside, _ in written:
                beside.unlink(missing_ok=True)
            raise


def _with_gzip(path: Path, content: bytes) -> tuple[tuple[Path, bytes], tuple[Path, bytes]]:
    packed = gzip.compress(content, 1, mtime=0)
    return (path.with_name(path.name + _GZIP), packed), (path, content)


def count_files(*folders: Path) -> tuple[int, int]:
    """Distributions below the folders, and their bytes; what stands beside one is none."""
    files = size = 0
    for folder in folders:
        for below, _, names in os.walk(folder):
            for name in names:
                if not name.endswith((METADATA_SUFFIX, ".sha256")):
                    with suppress(OSError):
                        size += (Path(below) / name).stat().st_size
                        files += 1
    return files, size
