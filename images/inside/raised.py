"""Describe an exception and what led to it, as JSON values. Used by the proof's programs."""

from __future__ import annotations

import os
import traceback

Described = dict[str, object]

_LIMIT = 8


def describe_chain(error: BaseException) -> list[Described]:
    """Return an exception and its causes, outermost first.

    ``raise … from None`` hides a cause from readers, not from us.
    """
    chain: list[Described] = []
    current: BaseException | None = error
    seen: set[int] = set()
    while current is not None and id(current) not in seen and len(chain) < _LIMIT:
        seen.add(id(current))
        chain.append(_describe(current))
        group = getattr(current, "exceptions", None)  # of an ExceptionGroup
        inner = group[0] if isinstance(group, (tuple, list)) and group else None
        current = current.__cause__ or current.__context__ or inner
    return chain


def _describe(error: BaseException) -> Described:
    kind = type(error)
    names = [f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__[:-1]]
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the text of an exception is code of the application
        text = ""
    return {
        "type": kind.__qualname__,
        "bases": [name.removeprefix("builtins.") for name in names],
        "text": text[:500],
        "name": str(getattr(error, "name", None) or ""),
        "path": _find_path(error),
        "modules": _list_modules(error),
    }


def _find_path(error: BaseException) -> str:
    path = getattr(error, "filename", None)
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    return path if isinstance(path, str) else ""


def _list_modules(error: BaseException) -> list[str]:
    """Return the modules of the traceback, innermost first."""
    names = [
        str(frame.f_globals.get("__name__", "?"))
        for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    return list(dict.fromkeys(reversed(names)))[:6]
