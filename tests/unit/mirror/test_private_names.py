"""Markers of private names: when they are added, and the only request that removes one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pluggy import PluginManager

from mirror import private_names
from mirror.core.errors import UnfitError
from mirror.private_names import (
    PrivateNamesPlugin,
    add_details,
    find_released_project,
    find_unusable_field,
)


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


class FakeDevpi:
    """What the plugin uses of devpi: its database with one index, and its WSGI application."""

    def __init__(self, projects: set[str], status: str = "200 OK") -> None:
        self.projects, self.status = projects, status
        self.keyfs = self.model = self

    @contextmanager
    def read_transaction(self, *, allow_reuse: bool) -> Iterator[None]:
        yield

    def getstage(self, index: str) -> FakeDevpi:
        assert index == "workloads/stable"
        return self

    def list_projects_perstage(self) -> set[str]:
        return self.projects

    def create_app(self) -> Callable[..., list[bytes]]:
        return self.respond

    def respond(self, environ: Mapping[str, Any], start: Callable[..., Any]) -> list[bytes]:
        start(self.status, [])
        return [b"done"]


@pytest.fixture
def started(tmp_path: Path) -> Callable[[FakeDevpi], Callable[[str, str], list[str]]]:
    """Return a function that starts devpi with the plugin; it returns one that sends requests."""

    def start(devpi: FakeDevpi) -> Callable[[str, str], list[str]]:
        PrivateNamesPlugin(tmp_path).devpiserver_cmdline_run(devpi)
        app = devpi.create_app()

        def send(method: str, path: str) -> list[str]:
            statuses: list[str] = []
            environ = {"REQUEST_METHOD": method, "PATH_INFO": path}
            assert app(environ, lambda status, *_: statuses.append(status)) == [b"done"]
            assert statuses == [devpi.status]
            return sorted(marker.name for marker in tmp_path.iterdir())

        return send

    return start


Start = Callable[[FakeDevpi], Callable[[str, str], list[str]]]


def test_a_start_adds_missing_markers_and_keeps_all(started: Start, tmp_path: Path) -> None:
    (tmp_path / "emptied").touch()
    send = started(FakeDevpi({"acme"}))
    assert send("GET", "/workloads/stable/acme") == ["acme", "emptied"]


def test_an_upload_is_marked_before_its_answer(started: Start) -> None:
    devpi = FakeDevpi(set())
    send = started(devpi)
    devpi.projects = {"acme"}
    assert send("POST", "/workloads/stable/") == ["acme"]


def test_a_deleted_project_releases_its_own_name_only(started: Start) -> None:
    devpi = FakeDevpi({"acme", "billing"})
    send = started(devpi)
    devpi.projects = set()
    assert send("DELETE", "/workloads/stable/Acme") == ["billing"]


def test_a_project_that_still_exists_keeps_its_name(started: Start) -> None:
    assert started(FakeDevpi({"acme"}))("DELETE", "/workloads/stable/acme") == ["acme"]


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "404 Not Found", "500 x"])
def test_a_refused_deletion_releases_nothing(started: Start, status: str) -> None:
    devpi = FakeDevpi({"acme"})
    send = started(devpi)
    devpi.status, devpi.projects = status, set()
    assert send("DELETE", "/workloads/stable/acme") == ["acme"]


def test_one_impossible_name_does_not_stop_a_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An older version registered them."""
    impossible = ("l" * 300, "nul\0x", "a/b", "..")
    PrivateNamesPlugin(tmp_path).add_markers({"acme", *impossible, "zulu"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["acme", "zulu"]
    assert capsys.readouterr().out.count("not a name that can be private") == 3


@pytest.mark.parametrize(
    ("name", "version", "filename", "part"),
    [
        ("acme", "1.0", "acme-1.0.tar.gz", ""),
        ("Acme.Billing_x", "1!2.0+cu12.1", "Acme.Billing_x-1!2.0+cu12.1-py3-none-any.whl", ""),
        ("l" * 300, "1.0", "l-1.0.tar.gz", "not a project name"),
        ("../../evil", "1.0", "evil-1.0.tar.gz", "not a project name"),
        ("a/b", "1.0", "a-1.0.tar.gz", "not a project name"),
        ("nul\0x", "1.0", "nul-1.0.tar.gz", "not a project name"),
        ("", "1.0", "a-1.0.tar.gz", "not a project name"),
        ("..", "1.0", "a-1.0.tar.gz", "not a project name"),
        ("Éclair", "1.0", "eclair-1.0.tar.gz", "not a project name"),
        ("weird name!", "1.0", "weird-1.0.tar.gz", "not a project name"),
        ("acme", "v" * 200, "acme-1.0.tar.gz", "not a version"),
        ("acme", "1/0", "acme-1.0.tar.gz", "not a version"),
        ("acme", "1.0", "../../../acme-1.0.tar.gz", "not a usable filename"),
        ("acme", "1.0", "a" * 250 + "-1.0.tar.gz", "not a usable filename"),
    ],
)
def test_refuses_what_devpi_or_the_file_system_cannot_take(
    name: str, version: str, filename: str, part: str
) -> None:
    form = {"name": name, "version": version, "content": SimpleNamespace(filename=filename)}
    reason = find_unusable_field(form)
    assert part in reason
    assert bool(reason) == bool(part)
    assert bool(find_unusable_field({"name": name, "version": version})) == (
        part in {"not a project name", "not a version"}
    )


def test_pages_get_sizes_and_upload_times() -> None:
    """PEP 700; without them, `uv --exclude-newer` drops every private package."""
    uploaded = datetime(2026, 11, 28, 14, 2, 7, tzinfo=UTC)
    filenames = ("acme-1.0.tar.gz", "acme-1.10.tar.gz", "acme-1.9-py3-none-any.whl")
    document: dict[str, Any] = {
        "meta": {"api-version": "1.0"},
        "name": "acme",
        "files": [
            {"filename": name, "url": f"../../+f/abc/de%66/{name}#sha256=00"} for name in filenames
        ],
    }
    asked = []

    def find(path: str) -> tuple[int, datetime]:
        asked.append(path)
        return 7, uploaded

    add_details(document, find)
    assert asked == [f"workloads/stable/+f/abc/def/{name}" for name in filenames]
    assert {file["size"] for file in document["files"]} == {7}
    assert {file["upload-time"] for file in document["files"]} == {"2026-11-28T14:02:07.000000Z"}
    assert document["versions"] == ["1.0", "1.9", "1.10"]
    assert document["meta"]["api-version"] == "1.1"


def test_a_page_with_a_missing_file_stays_of_version_one() -> None:
    document = {
        "meta": {"api-version": "1.0"},
        "name": "acme",
        "files": [{"filename": "acme-1.tar.gz", "url": "../../+f/a/b/acme-1.tar.gz"}],
    }
    add_details(document, lambda _: None)
    assert document["meta"] == {"api-version": "1.0"}


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("+f/abc/def/acme-1.tar.gz#sha256=00", ["workloads/stable/+f/abc/def/acme-1.tar.gz"]),
        ("../../../packages/acme-1.tar.gz", []),
        ("f", []),
    ],
)
def test_only_stored_files_have_details(url: str, asked: list[str]) -> None:
    file: dict[str, Any] = {"filename": "acme-1.tar.gz", "url": url}
    document = {"meta": {"api-version": "1.0"}, "name": "acme", "files": [file]}
    paths = []

    def find(path: str) -> tuple[int, datetime]:
        paths.append(path)
        return 7, datetime(2026, 11, 28, tzinfo=UTC)

    add_details(document, find)
    assert paths == asked
    assert document["meta"] == {"api-version": "1.1" if asked else "1.0"}
    assert ("size" in file) == bool(asked)


class FakeRunner:
    """devpi's context of a command: it has the plugins, and keeps the exit code."""

    def __init__(self, pluginmanager: PluginManager) -> None:
        self.pluginmanager, self.return_code = pluginmanager, 0

    def __enter__(self) -> FakeRunner:
        return self

    def __exit__(self, *_: object) -> None:
        pass


Started = list[tuple[PluginManager, list[str]]]


@pytest.fixture
def devpi_starts(monkeypatch: pytest.MonkeyPatch) -> Started:
    """Stand in for devpi-server's main function, which ends with 3; return what started it.

    Importing devpi takes seconds, and the functions that main calls would change its classes.
    """
    starts: Started = []

    def run_devpi(plugins: PluginManager, argv: list[str]) -> int:
        starts.append((plugins, argv))
        return 3

    config = SimpleNamespace(get_pluginmanager=lambda: PluginManager("devpiserver"))
    main = SimpleNamespace(CommandRunner=FakeRunner, _main=run_devpi)
    monkeypatch.setitem(sys.modules, "devpi_server.config", config)
    monkeypatch.setitem(sys.modules, "devpi_server.main", main)
    for name in ("_skip_unchanged_nodeinfo", "_refuse_unusable_names"):
        monkeypatch.setattr(private_names, name, lambda: None)
    return starts


def test_devpi_starts_with_the_plugin_and_its_own_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, devpi_starts: Started
) -> None:
    repaired = []
    monkeypatch.setattr(private_names, "repair_database", lambda path, _: repaired.append(path))
    folder = str(tmp_path / "devpi")
    argv = ["--port", "1", "--marks", str(tmp_path), "--serverdir", folder]
    assert private_names.main(argv) == 3
    ((plugins, options),) = devpi_starts
    assert options == ["devpi-server", "--port", "1", "--serverdir", folder]
    (plugin,) = plugins.get_plugins()
    plugin.add_markers(["acme"])
    assert (tmp_path / "acme").exists()
    assert repaired == [tmp_path / "devpi"]


def test_devpi_does_not_start_on_a_database_that_cannot_be_repaired(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    devpi_starts: Started,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(*_: object) -> None:
        raise UnfitError("the database is damaged", why="w", next_step="n")

    monkeypatch.setattr(private_names, "repair_database", refuse)
    assert private_names.main(["--marks", "m", "--serverdir", str(tmp_path)]) == 3
    assert devpi_starts == []
    assert "the database is damaged" in capsys.readouterr().out
