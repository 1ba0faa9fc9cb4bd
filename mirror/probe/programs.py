"""Runs programs that resolve a name, and classifies their output: uv (musl), glibc, busybox."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mirror.core.errors import ProgramError
from mirror.core.process import ProcessResult, run
from mirror.core.wait import Deadline
from mirror.probe.model import LookupOutcome, ProgramRun

SECONDS = 5.0  # after which a program is killed
_HTTP_SECONDS = "2"  # timeout of uv's connections
_GLIBC = (
    "import socket, sys\n"
    "entries = socket.getaddrinfo(sys.argv[1], 443, type=socket.SOCK_STREAM)\n"
    "print(' '.join(sorted({str(entry[4][0]) for entry in entries})))\n"
)
# text in a program's output → outcome; the first match counts
_OUTCOMES: tuple[tuple[str, LookupOutcome], ...] = (
    ("Name has no usable address", "no-address"),  # musl 1.2.4 and later, EAI_NODATA
    ("No address associated with hostname", "no-address"),  # glibc, EAI_NODATA
    ("Name does not resolve", "no-name"),  # musl, EAI_NONAME
    ("Name or service not known", "no-name"),  # glibc, EAI_NONAME
    ("NXDOMAIN", "no-name"),  # busybox
    ("Try again", "try-again"),  # musl, EAI_AGAIN
    ("Temporary failure in name resolution", "try-again"),  # glibc, EAI_AGAIN
    ("etwork unreachable", "unreachable"),
    ("etwork is unreachable", "unreachable"),
    ("o route to host", "unreachable"),
    ("Host is unreachable", "unreachable"),
    ("onnection refused", "refused"),
    ("timed out", "timeout"),
    ("certificate", "connects"),  # a certificate error means that the connection was made
    ("was not found in the package registry", "connects"),
    ("HTTP status", "connects"),
    ("404", "connects"),
)


def run_uv(program: Path, name: str, port: int, deadline: Deadline | None = None) -> ProgramRun:
    """Let uv resolve a name and request a project that does not exist from it."""
    scheme = "https" if port == 443 else "http"
    host = name if port == 443 else f"{name}:{port}"
    with tempfile.TemporaryDirectory() as scratch:
        argv: list[Path | str] = [program, "pip", "install", "--dry-run", "--no-deps"]
        argv += ["--no-cache", "--no-config", "--target", scratch, "--python", sys.executable]
        argv += ["--default-index", f"{scheme}://{host}/simple/", "mirror-doctor-asks"]
        env = {"PATH": os.environ.get("PATH", ""), "HOME": scratch, "TMPDIR": scratch}
        env |= {"UV_HTTP_RETRIES": "0", "UV_HTTP_TIMEOUT": _HTTP_SECONDS}
        env |= {"UV_HTTP_CONNECT_TIMEOUT": _HTTP_SECONDS}
        outcome, text = _run(argv, env, "connects", deadline)
    version = _read_version(program, deadline)
    return ProgramRun(program=version, libc="musl", asked=name, outcome=outcome, text=text)


def run_glibc(name: str, deadline: Deadline | None = None) -> ProgramRun:
    """Call getaddrinfo of this interpreter's C library, in a child that can be killed."""
    known = "CS_GNU_LIBC_VERSION" in os.confstr_names
    version = (os.confstr("CS_GNU_LIBC_VERSION") if known else None) or "libc"
    outcome, text = _run((sys.executable, "-c", _GLIBC, name), None, "resolves", deadline)
    return ProgramRun(program=version, libc="glibc", asked=name, outcome=outcome, text=text)


def run_busybox(program: Path, name: str, deadline: Deadline | None = None) -> ProgramRun:
    """Run nslookup of busybox, which queries the name without the search list."""
    outcome, text = _run((program, "nslookup", name), None, "resolves", deadline)
    return ProgramRun(program="busybox", libc="own", asked=name, outcome=outcome, text=text)


def _run(
    argv: Sequence[Path | str],
    env: dict[str, str] | None,
    success: LookupOutcome,
    deadline: Deadline | None,
) -> tuple[LookupOutcome, str]:
    """Return a program's outcome and the line of output that explains it."""
    if isinstance(argv[0], Path) and not argv[0].exists():
        return "absent", f"{argv[0]} is not in the image"
    try:
        result = run(argv, deadline=_limit(deadline), env=env, check=False)
    except ProgramError as error:
        return "timeout", str(error)
    outcome = success if result.ok else classify_output(result.out + result.err)
    return outcome, _choose_line(result)


def classify_output(text: str) -> LookupOutcome:
    """Return the outcome that the output of a failed program indicates."""
    return next((outcome for pattern, outcome in _OUTCOMES if pattern in text), "failed")


def _choose_line(result: ProcessResult) -> str:
    """Return the last cause of a failure, or the addresses of a success."""
    lines = [line.strip() for line in (result.out + result.err).splitlines() if line.strip()]
    if result.ok:
        prefix = "Address: "
        addresses = [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]
        # sorted, because servers rotate the addresses from answer to answer
        return " ".join(sorted(addresses) or lines[-1:])
    causes = [line for line in lines if line.lower().startswith(("cause:", "caused by:"))]
    line = (causes or lines or [f"exited with code {result.code}"])[-1]
    return line.partition(": ")[2] if causes else line


def _limit(deadline: Deadline | None) -> Deadline:
    """Return when a program is killed."""
    return deadline.within(SECONDS) if deadline else Deadline.after(SECONDS)


def _read_version(program: Path, deadline: Deadline | None) -> str:
    try:
        result = run([program, "--version"], deadline=_limit(deadline))
    except ProgramError:
        return program.name
    return " ".join(result.out.split()[:2])
