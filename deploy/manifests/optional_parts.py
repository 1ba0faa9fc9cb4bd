"""Find which parts of rendered objects are there because of one setting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionalPart:
    """A part of a document: an entry, an item, or a value that is another one without the setting.

    ``other`` is that other value; None if the part is not there at all.
    """

    path: Path
    other: Any = None


def find_optional_parts(full: Any, reduced: Any, path: Path = ()) -> Iterator[OptionalPart]:
    """Yield the parts of ``full`` that ``reduced``, rendered without the setting, lacks."""
    if isinstance(full, dict) and isinstance(reduced, dict):
        for key, value in full.items():
            if key in reduced:
                yield from find_optional_parts(value, reduced[key], (*path, key))
            else:
                yield OptionalPart(path=(*path, key))
    elif isinstance(full, list | tuple) and isinstance(reduced, list | tuple):
        yield from _find_in_list(list(full), list(reduced), path)
    elif full != reduced:
        yield OptionalPart(path=path, other=reduced)


def _find_in_list(full: list[Any], reduced: list[Any], path: Path) -> Iterator[OptionalPart]:
    if len(full) == len(reduced):
        for number, (item, other) in enumerate(zip(full, reduced, strict=True)):
            yield from find_optional_parts(item, other, (*path, number))
        return
    remaining = list(reduced)
    for number, item in enumerate(full):
        if remaining and item == remaining[0]:
            remaining.pop(0)
        else:
            yield OptionalPart(path=(*path, number))
