"""Locks of projects: what is installed, what is vendored, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from images.application_recipe import ApplicationRecipe
from images.project_lock import ProjectLock, read_project_lock, resolve_pin
from mirror.core.errors import InputError
from mirror.core.wait import Deadline
from mirror.lock import parse_requirements

RECIPE = ApplicationRecipe(name="x")
HASH = "--hash=sha256:" + "0" * 64
DIGEST = "a" * 64
PYLOCK = f"""\
lock-version = "1.0"
created-by = "t"
[[packages]]
name = "idna"
version = "3.10"
marker = "python_version >= '3.8'"
wheels = [{{ url = "http://h/idna-3.10-py3-none-any.whl", hashes = {{ sha256 = "{DIGEST}" }} }}]
sdist = {{ url = "http://h/idna-3.10.tar.gz", hashes = {{ sha256 = "{"b" * 64}" }} }}
[[packages]]
name = "fromgit"
vcs = {{ type = "git", url = "https://h/x", commit-id = "{"c" * 40}", subdirectory = "lib" }}
[[packages]]
name = "fromurl"
archive = {{ url = "http://h/fromurl-1.0-py3-none-any.whl", hashes = {{ sha256 = "{DIGEST}" }} }}
[[packages]]
name = "near"
archive = {{ path = "wheels/near-1.0-py3-none-any.whl", hashes = {{ sha256 = "{DIGEST}" }} }}
[[packages]]
name = "hello"
directory = {{ path = ".", editable = true }}
[[packages]]
name = "member"
directory = {{ path = "packages/member" }}
"""


def read(folder: Path, text: str, name: str = "requirements.txt") -> ProjectLock:
    (folder / name).write_text(text)
    return read_project_lock(folder, RECIPE, Deadline.after(30))


def test_reads_requirements_with_hashes(tmp_path: Path) -> None:
    text = f"# made by uv\nIdna==3.10 ; python_version >= '3.8' \\\n    {HASH}  # via x\n"
    lock = read(tmp_path, text)
    (pin,) = lock.pins
    assert (pin.name, pin.version, pin.origin) == ("idna", "3.10", "")
    assert lock.requirements_text == f'idna==3.10 ; python_version >= "3.8" {HASH}\n'


def test_keeps_the_origin_of_git_and_url_requirements(tmp_path: Path) -> None:
    text = f"a @ git+https://h/x@abc\nb @ https://h/b-1-py3-none-any.whl {HASH}\n"
    git, url = read(tmp_path, text).pins
    assert git.origin == "git+https://h/x@abc"
    assert url.hashes == (HASH.removeprefix("--hash="),)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("idna==3.10\n", "has no hash"),
        (f"idna>=3 {HASH}\n", "is not pinned"),
        (f"idna==3.* {HASH}\n", "is not pinned"),
        ("--index-url http://evil/\n", "cannot be used"),
        ("-r /etc/passwd\n", "cannot be used"),
        (f"idna==3.10 {HASH} --config-settings x=y\n", "cannot be used"),
        ("-e ../../nowhere\n", "which does not exist"),
        ("\x00\x01\n", "cannot be read as a lock"),
    ],
)
def test_refuses_lines_that_cannot_be_installed(tmp_path: Path, text: str, part: str) -> None:
    with pytest.raises(InputError, match=part):
        read(tmp_path, text)


@example("/\0")
@given(st.text(max_size=200))
def test_reads_or_refuses_any_text(text: str) -> None:
    try:
        pins = parse_requirements(text, "requirements.txt").pins
    except InputError:
        return
    for pin in pins:
        try:
            resolve_pin(pin, Path("/nowhere"), "requirements.txt")
        except (InputError, ValueError) as error:
            assert isinstance(error, InputError), pin


def test_reads_every_kind_of_package_in_a_pylock(tmp_path: Path) -> None:
    (tmp_path / "packages/member").mkdir(parents=True)
    lock = read(tmp_path, PYLOCK, "pylock.toml")
    assert lock.members == ("packages/member",)
    idna, git, url, near = lock.pins
    assert (idna.name, idna.version, idna.origin) == ("idna", "3.10", "")
    assert idna.marker == 'python_version >= "3.8"'
    assert len(idna.hashes) == 2
    assert git.origin == f"git+https://h/x@{'c' * 40}#subdirectory=lib"
    assert (url.origin, url.hashes) == (
        "http://h/fromurl-1.0-py3-none-any.whl",
        (f"sha256:{DIGEST}",),
    )
    assert near.origin == str(tmp_path / "wheels/near-1.0-py3-none-any.whl")
    assert near.hashes == (f"sha256:{DIGEST}",)


@pytest.mark.parametrize(
    "text",
    ["packages = 1\n", "[[packages]]\nwheels = 1\n", "[packages]\na = 1\n", "[[packages]]\n"],
)
def test_refuses_a_malformed_pylock(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="cannot be read as a lock"):
        read(tmp_path, text, "pylock.toml")


def test_refuses_an_extra_that_the_project_does_not_have(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("")
    (tmp_path / "pyproject.toml").write_text("[project.optional-dependencies]\nweb_app = []\n")
    known = ApplicationRecipe(name="x", extras=("Web-App",))
    assert read_project_lock(tmp_path, known, Deadline.after(5)).pins == ()
    unknown = ApplicationRecipe(name="x", extras=("nonsense",))
    with pytest.raises(InputError, match="no extra nonsense") as refused:
        read_project_lock(tmp_path, unknown, Deadline.after(5))
    assert "web_app" in refused.value.why


def test_refuses_a_project_without_a_lock(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no lock") as refused:
        read_project_lock(tmp_path, RECIPE, Deadline.after(5))
    assert "uv lock" in refused.value.next_step
