"""How a command ends: the exit code and the first line of each kind of error."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import click
import pytest

from cli import errors
from cli.commands import warm
from cli.index_session import open_build_index
from cli.options import ClusterOptions
from mirror.core.errors import (
    InputError,
    MirrorError,
    MirrorIndexError,
    RefusedError,
    UnfitError,
    WaitTimeout,
)
from mirror.core.wait import Deadline


def abort(cause: BaseException | None) -> click.Abort:
    error = click.Abort()
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MirrorError("it failed"), 1, "error: it failed"),
        (InputError("not a name"), 2, "error: not a name"),
        (UnfitError("no nginx"), 3, "error: no nginx"),
        (WaitTimeout("too slow"), 4, "error: too slow"),
        (RefusedError("not ours"), 5, "error: not ours"),
        (MirrorIndexError("HTTP 500"), 1, "error: HTTP 500"),
        (click.UsageError("Missing it"), 2, "error: missing it"),
        (click.ClickException("Bad file"), 1, "error: Bad file"),
        (click.exceptions.Exit(7), 7, ""),
        (KeyboardInterrupt(), 130, "interrupted; run the same command again to continue"),
        (abort(KeyboardInterrupt()), 130, "interrupted; run the same command again to continue"),
        (abort(None), 130, "not confirmed: nothing more was changed"),
        (OSError(28, "No space left on device", "/data"), 3, "error: cannot use /data"),
        (ValueError("x"), 1, "error: this is a bug in mirror: ValueError: x"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_each_error_has_its_code(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    said: str,
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("sys.argv", ["mirror"])
    with pytest.raises(SystemExit) as end:
        errors.run(click.Command("x", callback=fail), "mirror")
    assert end.value.code == code
    shown = capsys.readouterr().err
    assert shown.strip().splitlines()[:1] == ([said] if said else [])


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (3, 3), ("text", 0)])
def test_a_command_returns_its_code(
    monkeypatch: pytest.MonkeyPatch, returned: Any, code: int
) -> None:
    monkeypatch.setattr("sys.argv", ["mirror"])
    with pytest.raises(SystemExit) as end:
        errors.run(click.Command("x", callback=lambda: returned), "mirror")
    assert end.value.code == code


def test_a_build_asks_no_cluster_if_an_index_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATA", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path))
    url = "http://index.example:3141/root/pypi/+simple/"
    target = cast("ClusterOptions", None)
    with open_build_index(url, target, Deadline.after(5)) as index:
        assert index.url == url
        with pytest.raises(MirrorError):
            index.upload(Path("acme-1.0-py3-none-any.whl"))


class EmptyRun:
    """A run that ends without a report."""

    def follow(self, name: str) -> list[Any]:
        return []


def test_a_run_without_a_report_is_an_error() -> None:
    with pytest.raises(MirrorError, match="ended without a report"):
        warm._follow(cast("Any", EmptyRun()), "warm-1", nullcontext())
