"""Write a folder of generated files, over those of an earlier run only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from shlex import quote

from mirror.core.errors import RefusedError

_HEADER = "# Written by `mirror manifests`: change its options, not this file.\n"


def write_folder(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Write files, given by their path in the folder; return their paths.

    Files that an earlier run wrote and this one does not are deleted. Raises RefusedError, and
    writes nothing, if the folder has a file of somebody else.
    """
    others = [path for path in _list_files(folder) if str(path.relative_to(folder)) not in files]
    foreign = [path for path in others if not _is_generated(path)]
    if foreign:
        raise RefusedError(
            f"{folder} has other files: {', '.join(path.name for path in foreign)}",
            why="only a new or empty folder, or one of an earlier run, is written",
            next_step=f"give a folder of its own; see what is there: ls -A {quote(str(folder))}",
        )
    for path in others:
        path.unlink()
    written = []
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_HEADER + text if path.suffix == ".yaml" else text)
        written.append(path)
    return written


def _list_files(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.rglob("*") if not path.is_dir())


def _is_generated(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_HEADER.encode())) == _HEADER.encode()
