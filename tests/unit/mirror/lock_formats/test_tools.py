"""Locks of Poetry, PDM and Pipenv: what is installed with which extras and groups."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

import pytest

from mirror.core.errors import InputError
from mirror.lock import LockFile
from mirror.lock_formats.pdm import parse_pdm_lock
from mirror.lock_formats.pipfile import parse_pipfile_lock
from mirror.lock_formats.poetry import parse_poetry_lock

DIGEST = "sha256:" + "a" * 64
FILES = f'files = [{{ file = "x.whl", hash = "{DIGEST}" }}]'
METADATA = '[metadata]\nlock-version = "{}"\npython-versions = ">=3.11"\ncontent-hash = "0"\n'
NEW_POETRY = f"""\
[[package]]
name = "Base"
version = "1.0"
groups = ["main", "dev"]
{FILES}
[[package]]
name = "colors"
version = "2"
groups = ["main"]
markers = "sys_platform == 'win32'"
{FILES}
[[package]]
name = "linter"
version = "3"
groups = ["dev"]
{FILES}
[[package]]
name = "cache"
version = "4"
groups = ["main"]
optional = true
markers = 'extra == "redis"'
{FILES}
[[package]]
name = "both"
version = "5"
groups = ["main", "prod"]
markers = {{ main = "sys_platform == 'win32'", prod = "python_version >= '3'" }}
files = []
[package.source]
type = "git"
url = "https://host.test/both"
reference = "main"
resolved_reference = "{"c" * 40}"
subdirectory = "lib"
{METADATA.format("2.1")}
"""
OLD_POETRY = f"""\
[[package]]
name = "web"
version = "1"
{FILES}
[package.dependencies]
base = ">=1"
colors = {{ version = "*", markers = "sys_platform == 'win32'" }}
fast = {{ version = "*", optional = true, markers = "extra == 'speed'" }}
[[package]]
name = "base"
version = "1"
{FILES}
[package.dependencies]
web = "*"
[[package]]
name = "colors"
version = "1"
{FILES}
[package.dependencies]
deep = "*"
[[package]]
name = "deep"
version = "1"
{FILES}
[[package]]
name = "fast"
version = "1"
{FILES}
[[package]]
name = "linter"
version = "1"
{FILES}
[[package]]
name = "cache"
version = "1"
{FILES}
{METADATA.format("2.0")}
"""
POETRY_PROJECT = """\
[tool.poetry.dependencies]
python = "^3.11"
web = {version = "^1", extras = ["speed"]}
cache = {version = "^1", optional = true}
[tool.poetry.extras]
redis = ["cache"]
[tool.poetry.group.dev.dependencies]
linter = "*"
"""
PDM = f"""\
[metadata]
groups = ["default", "dev", "fast"]
strategy = ["inherit_metadata"]
lock_version = "4.5.0"
[[metadata.targets]]
requires_python = ">=3.11"
[[package]]
name = "web"
version = "1"
groups = ["default"]
{FILES}
[[package]]
name = "web"
version = "1"
extras = ["speed"]
groups = ["default"]
{FILES}
[[package]]
name = "colors"
version = "1"
groups = ["default", "dev"]
marker = "sys_platform == 'win32'"
{FILES}
[[package]]
name = "linter"
version = "1"
groups = ["dev"]
{FILES}
[[package]]
name = "quick"
version = "1"
groups = ["fast"]
git = "https://host.test/quick"
ref = "main"
revision = "{"d" * 40}"
"""


def list_names(lock: LockFile) -> dict[str, str]:
    return {pin.name: pin.marker for pin in lock.pins}


def poetry(text: str, project: str = "", **choice: Any) -> LockFile:
    return parse_poetry_lock(tomllib.loads(text), tomllib.loads(project), **choice)


def test_poetry_installs_the_main_group() -> None:
    lock = poetry(NEW_POETRY)
    windows = "sys_platform == 'win32'"
    assert list_names(lock) == {"base": "", "colors": windows, "both": windows}
    assert lock.pins[0].hashes == (DIGEST,)
    assert lock.pins[0].version == "1.0"
    assert lock.pins[-1].origin == f"git+https://host.test/both@{'c' * 40}#subdirectory=lib"
    assert lock.requires_python == ">=3.11"


def test_poetry_adds_groups_and_extras() -> None:
    assert "linter" in list_names(poetry(NEW_POETRY, groups=("dev",)))
    assert list_names(poetry(NEW_POETRY, extras=("Redis",)))["cache"] == ""
    both = list_names(poetry(NEW_POETRY, groups=("prod",)))["both"]
    assert both == "(sys_platform == 'win32') or (python_version >= '3')"


def test_older_poetry_locks_are_followed_from_the_project() -> None:
    names = list_names(poetry(OLD_POETRY, POETRY_PROJECT))
    windows = "(sys_platform == 'win32')"
    assert names == {"web": "", "base": "", "colors": windows, "deep": windows, "fast": ""}
    assert "cache" in list_names(poetry(OLD_POETRY, POETRY_PROJECT, extras=("redis",)))
    assert "linter" in list_names(poetry(OLD_POETRY, POETRY_PROJECT, groups=("dev",)))


def test_pdm_installs_the_default_group() -> None:
    lock = parse_pdm_lock(tomllib.loads(PDM), {})
    assert list_names(lock) == {"web": "", "colors": "sys_platform == 'win32'"}
    assert len(lock.pins) == 2, "a package with an extra is repeated in the lock"
    more = parse_pdm_lock(tomllib.loads(PDM), {}, extras=("fast",), groups=("dev",))
    assert set(list_names(more)) == {"web", "colors", "linter", "quick"}
    assert more.pins[-1].origin == f"git+https://host.test/quick@{'d' * 40}"


def test_older_pdm_locks_are_followed_from_the_project() -> None:
    entries: tuple[tuple[str, list[str], list[str]], ...] = (
        ("web", [], ["base>=1", "colors; sys_platform == 'win32'"]),
        ("web", ["speed"], ["web==1", "fast"]),
        ("base", [], ["web"]),
        ("colors", [], []),
        ("fast", [], []),
        ("linter", [], []),
    )
    document: dict[str, Any] = {
        "metadata": {"lock_version": "4.3"},
        "package": [
            {"name": name, "version": "1", "extras": extras, "dependencies": needs, "files": []}
            for name, extras, needs in entries
        ],
    }
    project: dict[str, Any] = {
        "project": {"dependencies": ["web[speed]>=1"]},
        "tool": {"pdm": {"dev-dependencies": {"lint": ["linter"]}}},
    }
    names = list_names(parse_pdm_lock(document, project))
    windows = '(sys_platform == "win32")'
    assert names == {"web": "", "base": "", "colors": windows, "fast": ""}
    project["project"]["dependencies"] = ["web"]
    assert set(list_names(parse_pdm_lock(document, project))) == {"web", "base", "colors"}
    document["metadata"]["files"] = {"web 1": [{"file": "x.whl", "hash": DIGEST}]}
    assert parse_pdm_lock(document, project).pins[0].hashes == (DIGEST,), "as PDM 2.0 wrote it"
    with_lint = parse_pdm_lock(document, project, groups=("lint",))
    assert "linter" in list_names(with_lint)


def test_pipenv_installs_the_default_category() -> None:
    document: Mapping[str, Any] = {
        "_meta": {"requires": {"python_version": "3.11"}},
        "default": {
            "Web": {"hashes": [DIGEST], "index": "own", "version": "==1.0", "markers": "a == 'b'"},
            "gone": {"git": "https://host.test/gone", "ref": "c" * 40},
        },
        "develop": {"linter": {"hashes": [DIGEST], "version": "==2"}},
    }
    lock = parse_pipfile_lock(document)
    web, gone = lock.pins
    assert (web.name, web.version, web.marker, web.hashes) == ("web", "1.0", "a == 'b'", (DIGEST,))
    assert gone.origin == f"git+https://host.test/gone@{'c' * 40}"
    assert lock.requires_python == "==3.11.*"
    assert "linter" in list_names(parse_pipfile_lock(document, groups=("develop",)))


@pytest.mark.parametrize("text", ["", "[[package]]\nversion = 1\n" + METADATA.format("2.1")])
def test_refuses_what_poetry_does_not_write(text: str) -> None:
    with pytest.raises(InputError) as refused:
        poetry(text)
    assert "poetry lock" in refused.value.next_step


def test_refuses_what_pdm_and_pipenv_do_not_write() -> None:
    with pytest.raises(InputError, match=r"pdm\.lock"):
        parse_pdm_lock({"package": [{"name": "x", "version": "1"}], "metadata": {}}, {})
    with pytest.raises(InputError, match=r"Pipfile\.lock"):
        parse_pipfile_lock({"default": {}})
