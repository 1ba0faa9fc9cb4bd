"""Locks: what is read, what is refused, and what has drifted."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from images.application_recipe import ApplicationRecipe
from images.project_lock import LockedDistribution, read_project_lock
from images.pylock import logical_lines
from images.sandbox import MirrorRoute
from images.source import read_source, redact_credentials, split_git_url
from mirror.core.errors import InputError
from mirror.core.wait import Deadline

RECIPE = ApplicationRecipe(name="x")
HASH = "--hash=sha256:" + "0" * 64


def read(folder: Path, text: str, name: str = "requirements.txt") -> tuple[LockedDistribution, ...]:
    (folder / name).write_text(text)
    return read_project_lock(folder, RECIPE, Deadline.after(30)).pins


def test_requirements_with_hashes(tmp_path: Path) -> None:
    text = f"# made by uv\nIdna==3.10 ; python_version >= '3.8' \\\n    {HASH}  # via x\n"
    (pin,) = read(tmp_path, text)
    assert (pin.name, pin.version, pin.origin) == ("idna", "3.10", "")
    assert pin.requirement == f'idna==3.10 ; python_version >= "3.8" {HASH}'


def test_what_is_off_the_index(tmp_path: Path) -> None:
    text = f"a @ git+https://h/x@abc\nb @ https://h/b-1-py3-none-any.whl {HASH}\n"
    git, url = read(tmp_path, text)
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
        ("-e ../../nowhere\n", "which is not there"),
        ("\x00\x01\n", "cannot be used"),
    ],
)
def test_lines_that_are_refused(tmp_path: Path, text: str, part: str) -> None:
    with pytest.raises(InputError, match=part):
        read(tmp_path, text)


@example("/\0")
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    from images.project_lock import _parse

    for line in logical_lines(text):
        try:
            _parse(line, Path("/nowhere"), "requirements.txt")
        except (InputError, ValueError) as told:
            assert isinstance(told, InputError), line


def test_no_lock(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no lock") as refused:
        read_project_lock(tmp_path, RECIPE, Deadline.after(5))
    assert "uv lock" in refused.value.next_step


@pytest.mark.parametrize(
    ("told", "url", "revision"),
    [
        ("https://h/x.git@v1", "https://h/x.git", "v1"),
        ("git+https://h/x", "https://h/x", "HEAD"),
        ("https://user:word@h/x", "https://user:word@h/x", "HEAD"),
        ("https://user:word@h/x@main", "https://user:word@h/x", "main"),
        ("git@h:o/x.git", "git@h:o/x.git", "HEAD"),
        ("ssh://git@h/x@release/1", "ssh://git@h/x", "release/1"),
    ],
)
def test_git_addresses(told: str, url: str, revision: str) -> None:
    assert split_git_url(told) == (url, revision)


def test_a_revision_is_no_option() -> None:
    with pytest.raises(InputError, match="not a revision"):
        split_git_url("https://h/x@--upload-pack=evil")


def test_no_password_is_shown() -> None:
    assert redact_credentials("at https://me:word@h/x") == "at https://h/x"


def test_links(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "within").symlink_to("a")
    assert read_source(tmp_path, Deadline.after(5)).files["within"].link == "a"
    for number, target in enumerate(("/etc/passwd", "../x", "sub/../../x")):
        link = tmp_path / f"out{number}"
        link.symlink_to(target)
        with pytest.raises(InputError, match="leads out of the project"):
            read_source(tmp_path, Deadline.after(5))
        link.unlink()
    (tmp_path / "out").symlink_to("/etc/passwd")
    (tmp_path / ".dockerignore").write_text("out\n")
    assert "out" not in read_source(tmp_path, Deadline.after(5)).files


def test_secrets_are_left_out_but_for_those_asked_for(tmp_path: Path) -> None:
    for name in (".env", ".env.prod", ".env.example", "sub.txt"):
        (tmp_path / name).write_text("x")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/config").write_text("x")
    source = read_source(tmp_path, Deadline.after(5))
    assert set(source.files) == {".env.example", "sub.txt"}
    assert source.left_out == (".env", ".env.prod")
    (tmp_path / ".dockerignore").write_text("!.env\n")
    assert ".env" in read_source(tmp_path, Deadline.after(5)).files


@pytest.mark.parametrize(
    "url",
    [
        "https://1.2.3.4/x/",
        "http://host/x/",
        "http://[::1]/x/",
        "http://u:p@1.2.3.4/x/",
        "nonsense",
    ],
)
def test_a_route_is_plain_http_to_an_address(url: str) -> None:
    with pytest.raises(InputError, match="not a mirror that a build can use"):
        MirrorRoute.parse(url)
    assert MirrorRoute.parse("http://1.2.3.4:3141/a/b/").sandbox_url == "http://127.0.0.1:3141/a/b/"
