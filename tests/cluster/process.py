"""Run other programs with a time limit; errors carry the output."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class CommandError(RuntimeError):
    """A program failed or timed out. The message ends with the last 2,000 characters of output."""

    def __init__(self, argv: Sequence[str], code: int | None, output: str) -> None:
        outcome = "timed out" if code is None else f"exited with code {code}"
        super().__init__(f"{' '.join(argv[:6])} {outcome}:\n{output[-2000:].strip()}")
        self.code = code
        self.output = output


def run(
    *argv: str,
    timeout: float = 60,
    stdin: str | bytes | Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a program and return its exit code and output, decoded as text.

    stdin is the input, or the path of a file to read it from. After timeout seconds the program is
    killed. Raises CommandError on a timeout, and on a non-zero exit code unless check is False.
    """
    if isinstance(stdin, Path):
        with stdin.open("rb") as file:
            return _run(argv, {"stdin": file}, timeout, env, cwd, check)
    data = stdin.encode() if isinstance(stdin, str) else stdin
    feed = {"stdin": subprocess.DEVNULL} if data is None else {"input": data}
    return _run(argv, feed, timeout, env, cwd, check)


def _run(
    argv: Sequence[str],
    feed: Mapping[str, Any],
    timeout: float,
    env: Mapping[str, str] | None,
    cwd: Path | None,
    check: bool,
) -> subprocess.CompletedProcess[str]:
    try:
        result = subprocess.run(
            argv, capture_output=True, timeout=timeout, env=env, cwd=cwd, check=False, **feed
        )
    except subprocess.TimeoutExpired as error:
        output = (error.stdout or b"") + (error.stderr or b"")
        raise CommandError(argv, None, output.decode(errors="replace")) from None
    out = result.stdout.decode(errors="replace")
    err = result.stderr.decode(errors="replace")
    if check and result.returncode != 0:
        raise CommandError(argv, result.returncode, out + err)
    return subprocess.CompletedProcess(list(argv), result.returncode, out, err)
