"""Running real programs, and classifying their output."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirror.probe import programs


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        # uv 0.13.9 and uv 0.6.10, static musl, on a poisoned search list
        ("failed to lookup address information: Name has no usable address", "no-address"),
        ("failed to lookup address information: Name does not resolve", "no-name"),
        ("failed to lookup address information: Try again", "try-again"),
        ("tcp connect error: Network unreachable (os error 101)", "unreachable"),
        ("tcp connect error: No route to host (os error 113)", "unreachable"),
        ("tcp connect error: Connection refused (os error 111)", "refused"),
        ("error: operation timed out", "timeout"),
        ("invalid peer certificate: UnknownIssuer", "connects"),
        ("mirror-doctor-asks was not found in the package registry", "connects"),
        ("HTTP status server error (503 Service Unavailable)", "connects"),
        ("socket.gaierror: [Errno -2] Name or service not known", "no-name"),
        ("socket.gaierror: [Errno -3] Temporary failure in name resolution", "try-again"),
        ("** server can't find nowhere.example: NXDOMAIN", "no-name"),
        ("thread 'main' panicked", "failed"),
    ],
)
def test_classifies_output(text: str, outcome: str) -> None:
    assert programs.classify_output(text) == outcome


def write_script(folder: Path, text: str) -> Path:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_reports_the_last_cause_of_a_failure(tmp_path: Path) -> None:
    uv = write_script(
        tmp_path,
        '[ "$1" = --version ] && { echo "uv 0.6.10 (x86_64)"; exit; }\n'
        'printf "error: Failed\\n  Caused by: dns error\\n  Caused by: Name does not resolve\\n"'
        " >&2; exit 2",
    )
    run = programs.run_uv(uv, "index.example", 443)
    assert (run.program, run.outcome, run.text) == ("uv 0.6.10", "no-name", "Name does not resolve")


def test_sorts_the_addresses(tmp_path: Path) -> None:
    busybox = write_script(
        tmp_path, 'printf "Name: x\\nAddress: 2001:db8::1\\nAddress: 192.0.2.1\\n"'
    )
    run = programs.run_busybox(busybox, "index.example")
    assert (run.outcome, run.text) == ("resolves", "192.0.2.1 2001:db8::1")


def test_reports_a_missing_program(tmp_path: Path) -> None:
    assert programs.run_uv(tmp_path / "uv", "index.example", 443).outcome == "absent"


def test_kills_a_program_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "SECONDS", 0.3)
    assert programs.run_busybox(write_script(tmp_path, "exec sleep 60"), "x").outcome == "timeout"


def test_calls_getaddrinfo() -> None:
    run = programs.run_glibc("localhost")
    assert run.outcome == "resolves"
    assert "127.0.0.1" in run.text or "::1" in run.text
