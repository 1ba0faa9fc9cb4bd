"""Programs on the PATH that stand in for real ones: they keep what they were told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_KEEP = """#!/bin/sh
printf '%s\\n' "$@" > {folder}/{name}.argv
cat > {folder}/{name}.stdin
echo {said}
exit {code}
"""


def install_program(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    *,
    exit_code: int = 0,
    output: str = "",
) -> None:
    """Make one, and put its folder first on the PATH."""
    path = folder / name
    path.write_text(_KEEP.format(folder=folder, name=name, code=exit_code, said=output))
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def read_invocation(folder: Path, name: str) -> tuple[list[str], bytes]:
    """The words and the standard input of its last run."""
    words = (folder / f"{name}.argv").read_text().splitlines()
    return words, (folder / f"{name}.stdin").read_bytes()
