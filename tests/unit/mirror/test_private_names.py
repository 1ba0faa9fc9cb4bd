"""Markers of private names: when they are added, and the only request that removes one."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirror.private_names import PrivateNamesPlugin, find_released_project


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("DELETE", "/workloads/stable/acme", "acme"),
        ("DELETE", "/workloads/stable/acme/", "acme"),
        ("DELETE", "/workloads/stable/Acme_Billing", "acme-billing"),
        ("DELETE", "/workloads/stable/acme/1.0", None),
        ("DELETE", "/workloads/stable/+f/abc/acme-1.0.tar.gz", None),
        ("DELETE", "/workloads/stable", None),
        ("DELETE", "/workloads/stable/", None),
        ("DELETE", "/workloads", None),
        ("DELETE", "/other/stable/acme", None),
        ("DELETE", "/root/pypi/acme", None),
        ("DELETE", "", None),
        ("POST", "/workloads/stable/acme", None),
        ("PUT", "/workloads/stable/acme", None),
    ],
)
def test_only_the_deletion_of_a_whole_project_releases_a_name(
    method: str, path: str, name: str | None
) -> None:
    assert find_released_project({"REQUEST_METHOD": method, "PATH_INFO": path}) == name


def test_adding_markers_removes_none(tmp_path: Path) -> None:
    plugin = PrivateNamesPlugin(tmp_path)
    plugin.add_markers(["acme"])
    plugin.add_markers(["billing"])
    plugin.add_markers([])
    assert {path.name for path in tmp_path.iterdir()} == {"acme", "billing"}
    plugin.remove_marker("acme")
    plugin.remove_marker("acme")
    assert {path.name for path in tmp_path.iterdir()} == {"billing"}
