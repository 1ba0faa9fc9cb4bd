"""The folder that devpi starts in, made by the real devpi-init."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from mirror.core.errors import RefusedError, UnfitError
from mirror.store.prepare import prepare_server


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
        "run_dir": tmp_path / "run",
        "secrets": secrets,
    }
    assert prepare_server(**places) is True
    before = (tmp_path / "data/devpi/.nodeinfo").read_bytes()
    assert prepare_server(**places) is False
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
        "run_dir": tmp_path / "run",
        "secrets": secrets,
    }
    assert prepare_server(**places) is True
    assert not half.exists()


def test_another_version_starts_on_a_copy_of_what_was(tmp_path: Path, secrets: Path) -> None:
    data = tmp_path / "data"
    said: list[str] = []
    places: dict[str, Any] = {
        "serverdir": data / "devpi",
        "run_dir": tmp_path / "run",
        "secrets": secrets,
        "report": said.append,
    }
    prepare_server(**places)
    upload = data / "devpi/+files/workloads/stable/+f/lib-1.tar.gz"
    upload.parent.mkdir(parents=True)
    upload.write_text("lib")
    before = (data / "devpi/.sqlite").read_bytes()
    prepare_server(**places)
    assert not (data / "backups").exists(), "the same version"
    for last in ("6.0.0", "6.1.0", "6.2.0", "7.0.0", ""):
        (data / "devpi/.served-by").write_text(last) if last else (
            data / "devpi/.served-by"
        ).unlink()
        prepare_server(**places)
    kept = sorted(path.name.split("-")[1] for path in (data / "backups").iterdir())
    assert kept == ["6.2.0", "7.0.0", "unknown"]
    (newest,) = (data / "backups").glob("devpi-unknown-*")
    assert str(newest) in said[-1]
    assert (newest / ".sqlite").read_bytes() == before
    assert (newest / ".sqlite").stat().st_nlink == 1
    assert (newest / upload.relative_to(data / "devpi")).samefile(upload), "it takes no room"
    prepare_server(**places)
    assert len(list((data / "backups").iterdir())) == 3


def test_no_room_for_the_copy_no_start(
    tmp_path: Path, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    places: dict[str, Any] = {
        "serverdir": data / "devpi",
        "run_dir": tmp_path / "run",
        "secrets": secrets,
    }
    prepare_server(**places)
    (data / "devpi/.served-by").write_text("6.0.0")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("shutil.copy2", full)
        with pytest.raises(UnfitError, match="no copy of") as told:
            prepare_server(**places)
    assert "6.0.0" in told.value.why
    assert (data / "devpi/.served-by").read_text() == "6.0.0"
    assert list((data / "backups").iterdir()) == []
    prepare_server(**places)
    assert len(list((data / "backups").iterdir())) == 1


def test_files_of_somebody_are_not_touched(tmp_path: Path, secrets: Path) -> None:
    other = tmp_path / "data/devpi"
    other.mkdir(parents=True)
    (other / "thesis.tex").write_text("years")
    with pytest.raises(RefusedError, match="is not a server folder"):
        prepare_server(serverdir=other, run_dir=tmp_path / "run", secrets=secrets)
    assert (other / "thesis.tex").read_text() == "years"


@pytest.mark.skipif(os.getuid() == 0, reason="root writes everywhere: tests/cluster covers it")
def test_a_volume_that_is_not_writable_names_its_owner(tmp_path: Path, secrets: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o555)
    with pytest.raises(UnfitError, match="not writable") as told:
        prepare_server(serverdir=tmp_path / "data/devpi", run_dir=tmp_path / "run", secrets=secrets)
    assert "mode 0555" in told.value.why


def test_a_missing_secret_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnfitError, match="secretfile"):
        prepare_server(
            serverdir=tmp_path / "d/devpi", run_dir=tmp_path / "run", secrets=tmp_path / "empty"
        )
