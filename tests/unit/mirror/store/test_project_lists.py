"""The projects on a volume: private ones by their markers, cached ones by their files."""

from __future__ import annotations

from pathlib import Path

from mirror.store.inventory import (
    CachedProject,
    PrivateProject,
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
