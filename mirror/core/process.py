"""The only door to programs: no shell, always a deadline, output captured."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mirror.core.errors import ProgramError
from mirror.core.wait import Deadline

_TAIL = 15  # lines of a failed program's output that an error shows


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessResult:
    """A finished program. ``out`` and ``err`` are decoded with replacement."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        return self.code == 0

    def tail(self) -> str:
        """The last lines it printed, for an error message."""
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
    """Run a program to its end.

    Raises ProgramError if it cannot start, runs past the deadline (it is then killed), or, with
    ``check``, ends with a code other than 0.
    """
    words = tuple(str(word) for word in argv)
    # subprocess takes bytes as `input` and files as `stdin`, never both
    feed: dict[str, Any] = (
        {"input": input}
        if isinstance(input, bytes)
        else {"stdin": subprocess.DEVNULL if input is None else input}
    )
    try:
        done = subprocess.run(
            words,
            **feed,
            capture_output=True,
            timeout=max(deadline.remaining(), 0.1),
            env=dict(env) if env is not None else None,
            cwd=cwd,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise ProgramError(
            f"{words[0]}: still running at the deadline, ended",
            why=(late.stderr or b"").decode(errors="replace")[-2000:],
            next_step="run again with a longer --timeout",
        ) from late
    except OSError as broken:
        raise ProgramError(f"{words[0]}: cannot be started", why=str(broken)) from broken
    result = ProcessResult(
        argv=words,
        code=done.returncode,
        out=done.stdout.decode(errors="replace"),
        err=done.stderr.decode(errors="replace"),
    )
    if check and not result.ok:
        raise ProgramError(f"{words[0]} ended with {result.code}", why=result.tail())
    return result


def spawn(
    argv: Sequence[str | Path], *, log: Path, env: Mapping[str, str] | None = None, cwd: Path
) -> int:
    """Start a program that outlives this one and its terminal; return its pid.

    Its output is appended to ``log``; it leads a session of its own: no hang-up reaches it.
    """
    words = [str(word) for word in argv]
    try:
        with log.open("ab") as out:
            started = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=dict(env) if env is not None else None,
                cwd=cwd,
            )
    except OSError as broken:
        raise ProgramError(f"{words[0]}: cannot be started", why=str(broken)) from broken
    return started.pid
