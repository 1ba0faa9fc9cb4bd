"""Create and repair the folder of devpi-server, with the real devpi-init."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
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


@pytest.fixture
def options(tmp_path: Path, secrets: Path) -> dict[str, Any]:
    return {"serverdir": tmp_path / "data/devpi", "run_dir": tmp_path / "run", "secrets": secrets}


def test_creates_a_private_server_folder_once(tmp_path: Path, options: dict[str, Any]) -> None:
    assert prepare_server(**options) is True
    before = (tmp_path / "data/devpi/.nodeinfo").read_bytes()
    assert prepare_server(**options) is False
    assert (tmp_path / "data/devpi/.nodeinfo").read_bytes() == before
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "run/secretfile").stat().st_mode & 0o777 == 0o600
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"secretfile"}


def test_creates_the_folder_again_after_a_kill(tmp_path: Path, options: dict[str, Any]) -> None:
    unfinished = tmp_path / "data/devpi.new"
    unfinished.mkdir(parents=True)
    (unfinished / ".sqlite").write_text("unfinished")
    assert prepare_server(**options) is True
    assert not unfinished.exists()


def test_copies_the_folder_before_another_version_starts(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    data = tmp_path / "data"
    lines: list[str] = []
    options["report"] = lines.append
    prepare_server(**options)
    upload = data / "devpi/+files/workloads/stable/+f/lib-1.tar.gz"
    upload.parent.mkdir(parents=True)
    upload.write_text("lib")
    before = (data / "devpi/.sqlite").read_bytes()
    prepare_server(**options)
    assert not (data / "backups").exists(), "the same version"
    for version in ("6.0.0", "6.1.0", "6.2.0", "7.0.0", ""):
        (data / "devpi/.served-by").write_text(version) if version else (
            data / "devpi/.served-by"
        ).unlink()
        prepare_server(**options)
    versions = sorted(path.name.split("-")[1] for path in (data / "backups").iterdir())
    assert versions == ["6.2.0", "7.0.0", "unknown"]
    (newest,) = (data / "backups").glob("devpi-unknown-*")
    assert str(newest) in lines[-1]
    assert (newest / ".sqlite").read_bytes() == before
    assert (newest / ".sqlite").stat().st_nlink == 1
    assert (newest / upload.relative_to(data / "devpi")).samefile(upload), "the copy takes no space"
    prepare_server(**options)
    assert len(list((data / "backups").iterdir())) == 3


def test_does_not_start_without_space_for_the_copy(
    tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    prepare_server(**options)
    (data / "devpi/.served-by").write_text("6.0.0")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("shutil.copy2", fail)
        with pytest.raises(UnfitError, match="no copy of") as error:
            prepare_server(**options)
    assert "6.0.0" in error.value.why
    assert (data / "devpi/.served-by").read_text() == "6.0.0"
    assert list((data / "backups").iterdir()) == []
    prepare_server(**options)
    assert len(list((data / "backups").iterdir())) == 1


def test_refuses_a_folder_with_other_files(tmp_path: Path, secrets: Path) -> None:
    other = tmp_path / "data/devpi"
    other.mkdir(parents=True)
    (other / "thesis.tex").write_text("years")
    with pytest.raises(RefusedError, match="is not a server folder"):
        prepare_server(serverdir=other, run_dir=tmp_path / "run", secrets=secrets)
    assert (other / "thesis.tex").read_text() == "years"


@pytest.fixture
def no_root() -> Iterator[None]:
    """Root may write everywhere: become nobody for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody can use, unlike tmp_path."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder


def test_names_the_owner_of_a_volume_that_is_not_writable(
    open_folder: Path, secrets: Path, request: pytest.FixtureRequest
) -> None:
    (open_folder / "data").mkdir(mode=0o555)
    shutil.copytree(secrets, open_folder / "secrets")
    request.getfixturevalue("no_root")
    with pytest.raises(UnfitError, match="not writable") as error:
        prepare_server(
            serverdir=open_folder / "data/devpi",
            run_dir=open_folder / "run",
            secrets=open_folder / "secrets",
        )
    assert "mode 0555" in error.value.why


def test_names_a_missing_secret(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnfitError, match="secretfile"):
        prepare_server(
            serverdir=tmp_path / "d/devpi", run_dir=tmp_path / "run", secrets=tmp_path / "empty"
        )
