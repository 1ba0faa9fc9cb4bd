"""pylock.toml: every kind of package that it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from images.application import Application
from images.requirements import read_lock
from mirror.core.errors import InputError
from mirror.core.wait import Deadline

SUM = "a" * 64
LOCK = f"""\
lock-version = "1.0"
created-by = "t"
[[packages]]
name = "idna"
version = "3.10"
marker = "python_version >= '3.8'"
wheels = [{{ url = "http://h/idna-3.10-py3-none-any.whl", hashes = {{ sha256 = "{SUM}" }} }}]
sdist = {{ url = "http://h/idna-3.10.tar.gz", hashes = {{ sha256 = "{"b" * 64}" }} }}
[[packages]]
name = "fromgit"
vcs = {{ type = "git", url = "https://h/x", commit-id = "{"c" * 40}", subdirectory = "lib" }}
[[packages]]
name = "fromurl"
archive = {{ url = "http://h/fromurl-1.0-py3-none-any.whl", hashes = {{ sha256 = "{SUM}" }} }}
[[packages]]
name = "near"
archive = {{ path = "wheels/near-1.0-py3-none-any.whl", hashes = {{ sha256 = "{SUM}" }} }}
[[packages]]
name = "hello"
directory = {{ path = ".", editable = true }}
[[packages]]
name = "member"
directory = {{ path = "packages/member" }}
"""


def test_every_kind_of_package(tmp_path: Path) -> None:
    (tmp_path / "packages/member").mkdir(parents=True)
    (tmp_path / "pylock.toml").write_text(LOCK)
    locked = read_lock(tmp_path, Application(name="x"), Deadline.after(5))
    assert locked.local == ("packages/member",)
    idna, git, url, near = locked.pins
    assert (idna.name, idna.version, idna.origin) == ("idna", "3.10", "")
    assert idna.marker == 'python_version >= "3.8"'
    assert len(idna.hashes) == 2
    assert git.origin == f"git+https://h/x@{'c' * 40}#subdirectory=lib"
    assert (url.origin, url.hashes) == (
        "http://h/fromurl-1.0-py3-none-any.whl",
        (f"sha256:{SUM}",),
    )
    assert near.origin == str(tmp_path / "wheels/near-1.0-py3-none-any.whl")
    assert near.hashes == (f"sha256:{SUM}",)


@pytest.mark.parametrize(
    "text",
    ["packages = 1\n", "[[packages]]\nwheels = 1\n", "[packages]\na = 1\n", "[[packages]]\n"],
)
def test_what_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "pylock.toml").write_text(text)
    with pytest.raises(InputError, match="not a lock"):
        read_lock(tmp_path, Application(name="x"), Deadline.after(5))


def test_an_extra_that_the_project_has_not(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("")
    (tmp_path / "pyproject.toml").write_text("[project.optional-dependencies]\nweb_app = []\n")
    known = Application(name="x", extras=("Web-App",))
    assert read_lock(tmp_path, known, Deadline.after(5)).pins == ()
    with pytest.raises(InputError, match="no extra nonsense") as refused:
        read_lock(tmp_path, Application(name="x", extras=("nonsense",)), Deadline.after(5))
    assert "web_app" in refused.value.why
