"""Runs other programs: always an argument list, always a time limit, errors with the output."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class CommandError(RuntimeError):
    """A program ended with an error or took too long; the text holds its last output."""

    def __init__(self, argv: Sequence[str], code: int | None, output: str) -> None:
        how = "took too long" if code is None else f"ended with {code}"
        super().__init__(f"{' '.join(argv[:6])} {how}:\n{output[-2000:].strip()}")
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
    """Run argv and return what it wrote, as text; stdin is the input, or a file that holds it.

    timeout is in seconds; after it the program is killed. Raises CommandFailed when it took too
    long, and for a non-zero exit code when check is set.
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
        done = subprocess.run(
            argv, capture_output=True, timeout=timeout, env=env, cwd=cwd, check=False, **feed
        )
    except subprocess.TimeoutExpired as error:
        seen = (error.stdout or b"") + (error.stderr or b"")
        raise CommandError(argv, None, seen.decode(errors="replace")) from None
    out = done.stdout.decode(errors="replace")
    err = done.stderr.decode(errors="replace")
    if check and done.returncode != 0:
        raise CommandError(argv, done.returncode, out + err)
    return subprocess.CompletedProcess(list(argv), done.returncode, out, err)
