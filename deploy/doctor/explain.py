"""The explanations of checks: the sections of docs/checks/CATEGORY.md, which the wheel contains."""

from __future__ import annotations

import difflib
from pathlib import Path

import deploy.checks
from deploy.doctor.run import load_categories
from mirror.core.errors import InputError

_INSTALLED = Path(deploy.checks.__path__[0]) / "docs"
_SOURCE = Path(deploy.checks.__path__[0]).parents[1] / "docs/checks"


def list_checks() -> tuple[str, ...]:
    """Return the ids of all checks."""
    return tuple(check.id for category in load_categories() for check in category.checks)


def explain_check(check_id: str) -> str:
    """Return what a check looks at and what to do, as Markdown. Raises InputError."""
    known = list_checks()
    if check_id not in known:
        close = difflib.get_close_matches(check_id, known, n=1) or known[:1]
        raise InputError(
            f"no check {check_id!r}",
            why="a check is named CATEGORY.CHECK, as at the end of a finding",
            next_step=f"mirror doctor --explain {close[0]}",
        )
    folder = _INSTALLED if _INSTALLED.is_dir() else _SOURCE
    text = (folder / f"{check_id.partition('.')[0]}.md").read_text()
    sections = text.split("\n## ")
    return next(each for each in sections if each.startswith(f"{check_id}\n")).strip()
