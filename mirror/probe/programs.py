"""Real programs asked for a name, each in its own words: static musl uv, glibc, busybox."""

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

SECONDS = 5.0  # the most a program gets
_HTTP = "2"  # seconds uv gives a connection
_GLIBC = (
    "import socket, sys\n"
    "found = socket.getaddrinfo(sys.argv[1], 443, type=socket.SOCK_STREAM)\n"
    "print(' '.join(sorted({str(one[4][0]) for one in found})))\n"
)
# words of a program → what they mean; the first that is found counts
_MEANING: tuple[tuple[str, LookupOutcome], ...] = (
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
    ("certificate", "connects"),  # intercepted TLS is an answer all the same
    ("was not found in the package registry", "connects"),
    ("HTTP status", "connects"),
    ("404", "connects"),
)


def run_uv(program: Path, name: str, port: int) -> ProgramRun:
    """uv's own resolver and connection, asked for a project that does not exist."""
    said = _version(program, "--version")
    scheme = "https" if port == 443 else "http"
    place = name if port == 443 else f"{name}:{port}"
    with tempfile.TemporaryDirectory() as scratch:
        argv: list[Path | str] = [program, "pip", "install", "--dry-run", "--no-deps"]
        argv += ["--no-cache", "--no-config"]
        argv += ["--target", scratch, "--python", sys.executable]
        argv += ["--default-index", f"{scheme}://{place}/simple/", "mirror-doctor-asks"]
        env = {"PATH": os.environ.get("PATH", ""), "HOME": scratch, "TMPDIR": scratch}
        env |= {"UV_HTTP_RETRIES": "0", "UV_HTTP_TIMEOUT": _HTTP, "UV_HTTP_CONNECT_TIMEOUT": _HTTP}
        outcome, text = _ask(argv, env, "connects")
    return ProgramRun(program=said, libc="musl", asked=name, outcome=outcome, text=text)


def run_glibc(name: str) -> ProgramRun:
    """getaddrinfo of this interpreter's C library, in a child that can be ended."""
    said = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else None
    outcome, text = _ask((sys.executable, "-c", _GLIBC, name), None, "resolves")
    return ProgramRun(program=said or "libc", libc="glibc", asked=name, outcome=outcome, text=text)


def run_busybox(program: Path, name: str) -> ProgramRun:
    """busybox nslookup: asks for the name as it is, without the search list."""
    outcome, text = _ask((program, "nslookup", name), None, "resolves")
    return ProgramRun(program="busybox", libc="own", asked=name, outcome=outcome, text=text)


def _ask(
    argv: Sequence[Path | str], env: dict[str, str] | None, fine: LookupOutcome
) -> tuple[LookupOutcome, str]:
    if isinstance(argv[0], Path) and not argv[0].exists():
        return "absent", f"{argv[0]} is not in the image"
    try:
        done = run(argv, deadline=Deadline.after(SECONDS), env=env, check=False)
    except ProgramError as broken:
        return "timeout", str(broken)
    text = _telling(done)
    return (fine, text) if done.ok else (classify_output(done.out + done.err), text)


def classify_output(text: str) -> LookupOutcome:
    """What a program that failed has told."""
    return next((outcome for words, outcome in _MEANING if words in text), "failed")


def _telling(done: ProcessResult) -> str:
    """The line that says it: the last cause of a failure, the addresses of a success."""
    lines = [line.strip() for line in (done.out + done.err).splitlines() if line.strip()]
    if done.ok:
        found = [line.removeprefix("Address: ") for line in lines if line.startswith("Address: ")]
        # sorted: servers turn the order of addresses round from answer to answer
        return " ".join(sorted(found) or lines[-1:])
    causes = [line for line in lines if line.lower().startswith(("cause:", "caused by:"))]
    text = (causes or lines or [f"ended with {done.code}"])[-1]
    return text.partition(": ")[2] if causes else text


def _version(program: Path, option: str) -> str:
    try:
        done = run([program, option], deadline=Deadline.after(SECONDS))
    except ProgramError:
        return program.name
    return " ".join(done.out.split()[:2])
