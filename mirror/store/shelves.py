"""Where kept files are, and what each should be: all that `verify` knows of the layout.

Below the data folder: ``public/files/<project>/<sha256>/<filename>`` are the cached files of the
public index, renamed into place once they were whole (a folder ``url-…`` where the upstream gave
no SHA-256; ``<filename>.sha256`` then holds the one that was measured). ``devpi/`` is the server's
own folder; its database tells the files that were uploaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mirror.settings import MIRROR_INDEX
from mirror.store.database import recorded

_MEASURED = ".sha256"
_METADATA = ".metadata"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A file that should be there. ``spec`` is ALGORITHM=HEX, "json" for a page, "" if unknown.

    ``url`` is its path on the index, where a request makes the mirror fetch it again; None for
    what cannot be had again (uploads) or comes by itself (pages).
    """

    path: Path
    spec: str
    private: bool
    url: str | None = None


def kept(data: Path) -> Iterator[Kept]:
    """Everything that should be there; a folder of a hash without its file gives its file."""
    yield from _public(data / "public/files")
    for page in sorted((data / "public/pages").glob("**/*.json")):
        yield Kept(path=page, spec="json", private=False)
    yield from _served_by_devpi(data)


def sound_page(path: Path) -> bool:
    """Whether a page is whole: JSON that names its files."""
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and isinstance(told.get("files"), list)


def _public(shelf: Path) -> Iterator[Kept]:
    for folder in sorted(shelf.glob("*/*/")):
        project, mark = folder.parts[-2:]
        files = [path for path in folder.iterdir() if path.is_file()]
        main = [path for path in files if not path.name.endswith((_MEASURED, _METADATA))]
        if not main:
            # the name went with the file; its hash tells all that is needed
            yield Kept(path=folder, spec="folder", private=False)
        for path in main:
            yield Kept(
                path=path,
                spec=_spec(mark, path),
                private=False,
                url=f"/{MIRROR_INDEX}/+f/{project}/{mark}/{path.name}",
            )


def _spec(mark: str, path: Path) -> str:
    if len(mark) == 64 and all(letter in "0123456789abcdef" for letter in mark):
        return f"sha256={mark}"
    try:
        return f"sha256={path.with_name(path.name + _MEASURED).read_text().strip()}"
    except (OSError, UnicodeDecodeError):
        return ""


def _served_by_devpi(data: Path) -> Iterator[Kept]:
    if not (data / "devpi/.sqlite").exists():
        return
    for one in recorded(data / "devpi"):
        # the pull-through index is asked through devpi only where there is no front
        if not one.private and (data / "public").exists():
            continue
        inside = one.path.relative_to(data / "devpi/+files").as_posix()
        url = None if one.private else f"/{inside}"
        yield Kept(path=one.path, spec=one.spec, private=one.private, url=url)
