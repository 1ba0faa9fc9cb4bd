"""Read TOML files that users wrote: recipes, pyproject.toml, uv.lock."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from mirror.core.errors import InputError

_MAX_BYTES = 64 * 1024**2


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file. Raises InputError with the file and the line."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise file_error(path, "it is larger than 64 MiB")
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise file_error(path, error.strerror or str(error)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise file_error(path, f"not TOML: {error}"[:300]) from error


def read_pyproject(folder: Path) -> dict[str, Any]:
    """Return the content of a folder's pyproject.toml, empty if there is none."""
    path = folder / "pyproject.toml"
    return read_toml(path) if path.is_file() else {}


def file_error(path: Path, why: str, next_step: str = "correct the file") -> InputError:
    """Return the error for a file that cannot be used."""
    return InputError(f"cannot use {path}", why=why, next_step=next_step)
