"""Where kept files are, and what each should be: all that `verify` knows of the layout.

Below the data folder: ``public/files/<project>/<sha256>/<filename>`` are the cached files of the
public index, renamed into place once they were whole (a folder ``url-…`` where the upstream gave
no SHA-256; ``<filename>.sha256`` then holds the one that was measured). ``public/pages`` are its
pages, each with a packed copy. ``devpi/`` is the server's own folder; its database tells the
files that were uploaded.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from mirror.settings import MIRROR_INDEX
from mirror.store.database import iter_database_files

_MEASURED = ".sha256"
_METADATA = ".metadata"
_PACKED = ".gz"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file that should be there.

    ``spec`` is ALGORITHM=HEX, or "page", or "folder" (its file has gone), or "" if unknown.
    ``url`` is its path on the index, where a request makes the mirror fetch it again; None for
    what cannot be had again (uploads) or comes by itself (pages). ``beside`` goes where it goes.
    """

    path: Path
    expected: str
    is_private: bool
    url: str | None = None
    companions: tuple[Path, ...] = ()


def iter_stored_files(data: Path) -> Iterator[StoredFile]:
    """Everything that should be there; a folder of a hash without its file gives its file."""
    yield from _public(data / "public")
    yield from _pages(data / "public")
    yield from _served_by_devpi(data)


def iter_uploads(data: Path) -> Iterator[StoredFile]:
    """Those of them that exist here alone."""
    yield from (one for one in _served_by_devpi(data) if one.is_private)


def is_page_intact(path: Path) -> bool:
    """Whether a page is whole JSON, and its packed copies (and those of its HTML) say the same."""
    try:
        told = json.loads(path.read_bytes())
        for page in (path, path.with_suffix(".html")):
            packed = page.with_name(page.name + _PACKED)
            both = page.exists() and packed.exists()
            if both and gzip.decompress(packed.read_bytes()) != page.read_bytes():
                return False
    except FileNotFoundError:
        return True  # replaced by a newer one while we read
    except (OSError, ValueError, EOFError, zlib.error):
        return False
    return isinstance(told, dict) and isinstance(told.get("files"), list)


def _pages(public: Path) -> Iterator[StoredFile]:
    for path in sorted((public / "pages").glob("*.json")):
        project = path.name.removesuffix(".json")
        names = [f"{project}.{kind}{end}" for kind in ("json", "html") for end in ("", _PACKED)]
        beside = [public / folder / name for folder in ("fresh", "pages") for name in names]
        yield StoredFile(
            path=path,
            expected="page",
            is_private=False,
            companions=(*beside, public / "links" / project),
        )


def _public(public: Path) -> Iterator[StoredFile]:
    for shelf in sorted((public / "files").glob("*/")):
        metadata = _metadata_hashes(public / "links" / shelf.name)
        for folder in sorted(shelf.glob("*/")):
            yield from _folder(folder, metadata)


def _folder(folder: Path, metadata: Mapping[tuple[str, str], str]) -> Iterator[StoredFile]:
    project, mark = folder.parts[-2:]
    files = [path for path in folder.iterdir() if path.is_file()]
    main = [path for path in files if not path.name.endswith((_MEASURED, _METADATA))]
    if not main:
        # the name went with the file; its hash tells all that is needed
        yield StoredFile(path=folder, expected="folder", is_private=False)
    root = f"/{MIRROR_INDEX}/+f/{project}/{mark}"
    for path in main:
        others = (path.with_name(path.name + _MEASURED), path.with_name(path.name + _METADATA))
        yield StoredFile(
            path=path,
            expected=_spec(mark, path),
            is_private=False,
            url=f"{root}/{quote(path.name)}",
            companions=others,
        )
        if others[1].exists():
            digest = metadata.get((mark, path.name), "")
            yield StoredFile(
                path=others[1],
                expected=f"sha256={digest}" if digest else "",
                is_private=False,
                url=f"{root}/{quote(others[1].name)}",
            )


def _metadata_hashes(links: Path) -> dict[tuple[str, str], str]:
    """(folder, filename) → SHA-256 of the core metadata, where a project's page gives one."""
    found = {}
    with suppress(OSError, UnicodeDecodeError):
        for line in links.read_text().splitlines():
            words = line.split(" ")
            if len(words) == 4 and len(words[3]) == 64:
                found[words[0], unquote(words[1])] = words[3]
    return found


def _spec(mark: str, path: Path) -> str:
    if len(mark) == 64 and all(letter in "0123456789abcdef" for letter in mark):
        return f"sha256={mark}"
    try:
        return f"sha256={path.with_name(path.name + _MEASURED).read_text().strip()}"
    except (OSError, UnicodeDecodeError):
        return ""


def _served_by_devpi(data: Path) -> Iterator[StoredFile]:
    if not (data / "devpi/.sqlite").exists():
        return
    for one in iter_database_files(data / "devpi"):
        # the pull-through index is asked through devpi only where there is no front
        if not one.is_private and (data / "public").exists():
            continue
        inside = one.path.relative_to(data / "devpi/+files").as_posix()
        url = None if one.is_private else f"/{inside}"
        yield StoredFile(path=one.path, expected=one.hash_spec, is_private=one.is_private, url=url)
