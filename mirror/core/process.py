"""Run programs without a shell, with a deadline and captured output. No other module does."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mirror.core.errors import ProgramError
from mirror.core.wait import Deadline

_TAIL = 15  # lines of a failed program's output in its error


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessResult:
    """A program that has exited. ``out`` and ``err`` are decoded with replacement characters."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        return self.code == 0

    def tail(self) -> str:
        """Return the last lines of its output, for an error message."""
        return "\n".join((self.out + self.err).strip().splitlines()[-_TAIL:])


def run(
    argv: Sequence[str | Path],
    *,
    deadline: Deadline,
    input: bytes | IO[bytes] | None = None,  # noqa: A002 - as in subprocess
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    check: bool = True,
) -> ProcessResult:
    """Run a program until it exits.

    Raises ProgramError if it cannot be started, is still running at the deadline (it is then
    killed), or, with ``check``, exits with a code other than 0.
    """
    command = tuple(map(str, argv))
    # subprocess takes bytes as `input` and files as `stdin`, never both
    stdin: dict[str, Any] = (
        {"input": input}
        if isinstance(input, bytes)
        else {"stdin": subprocess.DEVNULL if input is None else input}
    )
    try:
        done = subprocess.run(
            command,
            **stdin,
            capture_output=True,
            timeout=max(deadline.remaining(), 0.1),
            env=env,
            cwd=cwd,
            check=False,
        )
    except subprocess.TimeoutExpired as timeout:
        raise ProgramError(
            f"{command[0]}: killed, because it was still running at the deadline",
            why=(timeout.stderr or b"").decode(errors="replace")[-2000:],
            next_step="run again with a longer --timeout",
        ) from timeout
    except OSError as error:
        raise ProgramError(f"{command[0]}: cannot be started", why=str(error)) from error
    result = ProcessResult(
        argv=command,
        code=done.returncode,
        out=done.stdout.decode(errors="replace"),
        err=done.stderr.decode(errors="replace"),
    )
    if check and not result.ok:
        raise ProgramError(f"{command[0]} exited with code {result.code}", why=result.tail())
    return result


def spawn(
    argv: Sequence[str | Path], *, log: Path, env: Mapping[str, str] | None = None, cwd: Path
) -> int:
    """Start a program that leads its own session and survives us; append its output to ``log``."""
    command = list(map(str, argv))
    try:
        with log.open("ab") as out:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=env,
                cwd=cwd,
            )
    except OSError as error:
        raise ProgramError(f"{command[0]}: cannot be started", why=str(error)) from error
    return process.pid
