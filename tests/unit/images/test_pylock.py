"""pylock.toml: every kind of package that it has."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from images.application_recipe import ApplicationRecipe
from images.project_lock import read_project_lock
from images.pylock import MALFORMED_LOCK_ERRORS, _line
from mirror.core.errors import InputError
from mirror.core.wait import Deadline

KEYS = st.sampled_from(
    [
        "name",
        "version",
        "marker",
        "wheels",
        "sdist",
        "vcs",
        "archive",
        "directory",
        "path",
        "url",
        "hashes",
        "sha256",
        "commit-id",
        "subdirectory",
        "type",
    ]
)
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
    locked = read_project_lock(tmp_path, ApplicationRecipe(name="x"), Deadline.after(5))
    assert locked.members == ("packages/member",)
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
        read_project_lock(tmp_path, ApplicationRecipe(name="x"), Deadline.after(5))


SCALARS = st.booleans() | st.integers() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_whatever_a_package_holds_it_is_a_line_or_malformed(package: dict[str, object]) -> None:
    with suppress(*MALFORMED_LOCK_ERRORS):
        assert isinstance(_line(package, Path("/nowhere")), str)


def test_an_extra_that_the_project_has_not(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("")
    (tmp_path / "pyproject.toml").write_text("[project.optional-dependencies]\nweb_app = []\n")
    known = ApplicationRecipe(name="x", extras=("Web-App",))
    assert read_project_lock(tmp_path, known, Deadline.after(5)).pins == ()
    with pytest.raises(InputError, match="no extra nonsense") as refused:
        read_project_lock(
            tmp_path, ApplicationRecipe(name="x", extras=("nonsense",)), Deadline.after(5)
        )
    assert "web_app" in refused.value.why
