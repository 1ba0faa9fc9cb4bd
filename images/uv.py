"""Run uv without its user configuration, so that only the lock and the mirror decide."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from mirror.core.errors import InputError, ProgramError
from mirror.core.process import run
from mirror.core.wait import Deadline

_EXPORT = (
    "export",
    "--no-config",
    "--frozen",
    "--no-dev",
    "--no-emit-project",
    "--no-header",
    "--no-annotate",
)


def find_uv() -> str:
    """Return the path of uv: in this environment, else on PATH."""
    beside = Path(sys.executable).with_name("uv")
    path = str(beside) if beside.exists() else shutil.which("uv")
    if not path:
        raise InputError("uv is not installed", next_step="pip install uv")
    return path


def name_uv() -> str:
    """Return how a user's shell starts uv: by its name if it is on PATH, else by its path."""
    return "uv" if shutil.which("uv") else shlex.quote(find_uv())


def uv_environment(**extra: str) -> dict[str, str]:
    """Return this process's environment without variables that change what uv or pip do."""
    ignored = ("UV_", "PIP_", "VIRTUAL_ENV")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ignored)}
    kept |= {key: os.environ[key] for key in ("UV_CACHE_DIR", "UV_PYTHON") if key in os.environ}
    return {**kept, "UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1", **extra}


def export_lock(
    folder: Path,
    extras: Sequence[str],
    groups: Sequence[str],
    deadline: Deadline,
    *,
    member: str = "",
) -> str:
    """Return the uv.lock of a folder as a requirements file: all of it, or what a member needs.

    Raises InputError with uv's reason.
    """
    options = [word for extra in extras for word in ("--extra", extra)]
    options += [word for group in groups for word in ("--group", group)]
    options += ("--package", member) if member else ()
    try:
        return run(
            (find_uv(), *_EXPORT, "--offline", *options),
            cwd=folder,
            env=uv_environment(),
            deadline=deadline.within(120),
        ).out
    except ProgramError as error:
        why = re.sub(r"^error: ", "", error.why.strip())
        next_step = "check that `uv export --frozen` works there"
        if "xtra" in why:
            next_step = "give an extra that pyproject.toml has with --extra"
        elif "roup" in why:
            next_step = "give a group of [dependency-groups] in pyproject.toml with --group"
        raise InputError(
            f"uv cannot export the lock of {folder}", why=why, next_step=next_step
        ) from error
