"""Suggest a start command for a project in whose files there is none. Nothing of it is run."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_MODULES = ("main", "app", "server", "api", "asgi", "wsgi", "application", "run", "src.main")
_ASGI = re.compile(
    r"(?m)^(\w+)\s*(?::[^=\n]+)?=\s*(?:\w+\.)?(?:FastAPI|Starlette|Litestar|Quart)\("
)
_FLASK = re.compile(r"(?m)^\w+\s*(?::[^=\n]+)?=\s*(?:\w+\.)?Flask\(")


def suggest_start(folder: Path, scripts: Iterable[str]) -> tuple[str, ...]:
    """Return the argv of what looks like the application, () if nothing does.

    ``scripts`` are the programs that the project installs.
    """
    if (folder / "manage.py").is_file():
        return ("python", "manage.py", "runserver", "0.0.0.0:8000")
    for module in _MODULES:
        path = folder / f"{module.replace('.', '/')}.py"
        text = path.read_text(errors="replace") if path.is_file() else ""
        if application := _ASGI.search(text):
            return ("uvicorn", f"{module}:{application[1]}", "--host", "0.0.0.0")
        if _FLASK.search(text):
            return ("flask", "--app", module, "run", "--host", "0.0.0.0")
        if "__main__" in text:
            return ("python", path.relative_to(folder).as_posix())
    return tuple(scripts)[:1]
