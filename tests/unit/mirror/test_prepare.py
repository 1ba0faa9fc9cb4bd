"""The folder that devpi starts in, made by the real devpi-init."""

import os
from pathlib import Path
from typing import Any

import pytest

from mirror.core.errors import RefusedError, UnfitError
from mirror.store.prepare import prepare


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "root-password").write_text('odd "pass: # wörd\n')
    (folder / "secretfile").write_text("s" * 40)
    return folder


def test_it_is_made_once_and_private(tmp_path: Path, secrets: Path) -> None:
    places: dict[str, Any] = {
        "serverdir": tmp_path / "data/devpi",
        "run": tmp_path / "run",
        "secrets": secrets,
    }
    assert prepare(**places) is True
    before = (tmp_path / "data/devpi/.nodeinfo").read_bytes()
    assert prepare(**places) is False
    assert (tmp_path / "data/devpi/.nodeinfo").read_bytes() == before
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "run/secretfile").stat().st_mode & 0o777 == 0o600
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"secretfile"}


def test_what_a_kill_left_is_made_again(tmp_path: Path, secrets: Path) -> None:
    half = tmp_path / "data/devpi.new"
    half.mkdir(parents=True)
    (half / ".sqlite").write_text("half")
    places: dict[str, Any] = {
        "serverdir": tmp_path / "data/devpi",
        "run": tmp_path / "run",
        "secrets": secrets,
    }
    assert prepare(**places) is True
    assert not half.exists()


def test_files_of_somebody_are_not_touched(tmp_path: Path, secrets: Path) -> None:
    other = tmp_path / "data/devpi"
    other.mkdir(parents=True)
    (other / "thesis.tex").write_text("years")
    with pytest.raises(RefusedError, match="is no server"):
        prepare(serverdir=other, run=tmp_path / "run", secrets=secrets)
    assert (other / "thesis.tex").read_text() == "years"


@pytest.mark.skipif(os.getuid() == 0, reason="root writes everywhere: tests/cluster covers it")
def test_a_volume_that_is_not_writable_names_its_owner(tmp_path: Path, secrets: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o555)
    with pytest.raises(UnfitError, match="not writable") as told:
        prepare(serverdir=tmp_path / "data/devpi", run=tmp_path / "run", secrets=secrets)
    assert "mode 0555" in told.value.why


def test_a_missing_secret_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnfitError, match="secretfile"):
        prepare(serverdir=tmp_path / "d/devpi", run=tmp_path / "run", secrets=tmp_path / "empty")
