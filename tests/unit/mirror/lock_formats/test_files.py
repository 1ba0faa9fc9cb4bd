"""A lock of any tool is known by its file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mirror.core.errors import InputError
from mirror.lock_formats.files import read_any_lock

DIGEST = "sha256:" + "a" * 64
FILES = f'files = [{{ file = "six-1.17.0-py2.py3-none-any.whl", hash = "{DIGEST}" }}]'
POETRY = f"""\
[[package]]
name = "six"
version = "1.17.0"
{FILES}
[package.source]
type = "legacy"
url = "https://cpu.example/simple"
[metadata]
lock-version = "2.1"
python-versions = ">=3.11"
content-hash = "00"
"""
PDM = f"""\
[metadata]
groups = ["default"]
lock_version = "4.5.0"
[[package]]
name = "six"
version = "1.17.0"
groups = ["default"]
{FILES}
"""
PIPENV = json.dumps(
    {
        "_meta": {"pipfile-spec": 6, "requires": {}},
        "default": {"six": {"version": "==1.17.0", "hashes": [DIGEST]}},
        "develop": {"pytest": {"version": "==8.0", "hashes": [DIGEST]}},
    }
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("poetry.lock", POETRY),
        ("pdm.lock", PDM),
        ("Pipfile.lock", PIPENV),
        ("requirements.txt", f"six==1.17.0 --hash={DIGEST}\n"),
        ("poetry.lock", "\ufeff" + POETRY),
    ],
)
def test_reads_locks_of_every_tool(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    (pin,) = read_any_lock(str(path)).pins
    assert (pin.name, pin.specifier, pin.hashes) == ("six", "==1.17.0", (DIGEST,))


def test_an_older_lock_of_poetry_follows_its_project(tmp_path: Path) -> None:
    other = POETRY.replace("six", "other").partition("[metadata]")[0]
    (tmp_path / "poetry.lock").write_text(other + POETRY)
    names = [pin.name for pin in read_any_lock(str(tmp_path / "poetry.lock")).pins]
    assert sorted(names) == ["other", "six"], "without a project, all of it"
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["six"]\n')
    assert [pin.name for pin in read_any_lock(str(tmp_path / "poetry.lock")).pins] == ["six"]


@pytest.mark.parametrize(("name", "text"), [("poetry.lock", "[["), ("Pipfile.lock", "{")])
def test_a_broken_lock_is_named(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=rf"cannot be read as a lock: .*{name}"):
        read_any_lock(str(tmp_path / name))


def test_a_lock_tells_the_index_of_a_package(tmp_path: Path) -> None:
    (tmp_path / "poetry.lock").write_text(POETRY)
    (pin,) = read_any_lock(str(tmp_path / "poetry.lock")).pins
    assert pin.registry == "https://cpu.example/simple"
    (tmp_path / "uv.lock").write_text(
        'version = 1\n[[package]]\nname = "six"\nversion = "1.17.0"\n'
        'source = { registry = "https://cpu.example/simple" }\n'
    )
    (pin,) = read_any_lock(str(tmp_path / "uv.lock")).pins
    assert (pin.registry, pin.source) == ("https://cpu.example/simple", "index")
