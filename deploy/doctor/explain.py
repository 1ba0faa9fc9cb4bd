"""The explanations of checks: the sections of docs/checks/CATEGORY.md, which the wheel contains."""

from __future__ import annotations

from pathlib import Path

import deploy.checks
from deploy.doctor.run import load_categories

_INSTALLED = Path(deploy.checks.__path__[0]) / "docs"
_SOURCE = Path(deploy.checks.__path__[0]).parents[1] / "docs/checks"


def list_checks() -> tuple[str, ...]:
    """Return the ids of all checks."""
    return tuple(check.id for category in load_categories() for check in category.checks)


def explain_check(check_id: str) -> str:
    """Return what a known check looks at and what to do, as Markdown."""
    folder = _INSTALLED if _INSTALLED.is_dir() else _SOURCE
    text = (folder / f"{check_id.partition('.')[0]}.md").read_text()
    sections = text.split("\n## ")
    return next(each for each in sections if each.startswith(f"{check_id}\n")).strip()
