"""The projects on a volume: private ones by their markers, cached ones by their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mirror.store import inventory
from mirror.store.database import DatabaseFile
from mirror.store.inventory import (
    CachedProject,
    PrivateProject,
    iter_stored_files,
    list_cached_projects,
    list_private_projects,
)


def test_a_marker_makes_a_name_private(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    for name in ("house-lib", "acme-auth"):
        (tmp_path / "private" / name).touch()
    assert list_private_projects(tmp_path) == (
        PrivateProject(name="acme-auth", files=()),
        PrivateProject(name="house-lib", files=()),
    )


def test_counts_the_cached_files_of_a_project(tmp_path: Path) -> None:
    folder = tmp_path / "files/idna/ab"
    folder.mkdir(parents=True)
    (folder / "idna-3.10-py3-none-any.whl").write_bytes(b"12345")
    (folder / "idna-3.10-py3-none-any.whl.metadata").write_bytes(b"1")
    (tmp_path / "links").mkdir()
    (tmp_path / "links/six").touch()
    assert list_cached_projects(tmp_path) == (
        CachedProject(name="idna", files=1, size=5),
        CachedProject(name="six", files=0, size=0),
    )


def test_an_empty_volume_has_no_projects(tmp_path: Path) -> None:
    assert list_private_projects(tmp_path) == ()
    assert list_cached_projects(tmp_path) == ()


@pytest.fixture
def devpi_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Store an upload and a cached file in devpi's database."""
    (tmp_path / "devpi").mkdir()
    (tmp_path / "devpi/.sqlite").touch()
    files = [
        DatabaseFile(
            path=tmp_path / f"devpi/+files/{index}/+f/abc/{project}-1.0.tar.gz",
            index=index,
            project=project,
            hash_spec="sha256=00",
        )
        for index, project in (("workloads/stable", "acme"), ("root/pypi", "idna"))
    ]
    monkeypatch.setattr(inventory, "iter_database_files", lambda _: iter(files))


def test_only_uploads_are_private(tmp_path: Path, devpi_files: None) -> None:
    """A mirror without a cache of its own keeps public files in the same database."""
    private = (PrivateProject(name="acme", files=("acme-1.0.tar.gz",)),)
    assert list_private_projects(tmp_path) == private


@pytest.mark.parametrize(
    ("has_cache", "expected"),
    [
        (False, {"acme-1.0.tar.gz": None, "idna-1.0.tar.gz": "/root/pypi/+f/abc/idna-1.0.tar.gz"}),
        (True, {"acme-1.0.tar.gz": None}),
    ],
)
def test_devpi_stores_public_files_only_without_a_cache(
    tmp_path: Path, devpi_files: None, has_cache: bool, expected: dict[str, Any]
) -> None:
    if has_cache:
        (tmp_path / "public").mkdir()
    stored = list(iter_stored_files(tmp_path))
    assert {file.path.name: file.url for file in stored} == expected
    assert [file.path.name for file in stored if file.is_private] == ["acme-1.0.tar.gz"]
