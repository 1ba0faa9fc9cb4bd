"""Shell scripts on the PATH that replace programs and record how they were run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_SCRIPT = """#!/bin/sh
printf '%s\\n' "$@" > {folder}/{name}.argv
cat > {folder}/{name}.stdin
echo {output}
exit {exit_code}
"""


def install_program(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    *,
    exit_code: int = 0,
    output: str = "",
) -> None:
    """Write a script of this name and put its folder first on the PATH."""
    path = folder / name
    path.write_text(_SCRIPT.format(folder=folder, name=name, exit_code=exit_code, output=output))
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def read_invocation(folder: Path, name: str) -> tuple[list[str], bytes]:
    """The arguments and the standard input of the program's last run."""
    arguments = (folder / f"{name}.argv").read_text().splitlines()
    return arguments, (folder / f"{name}.stdin").read_bytes()
