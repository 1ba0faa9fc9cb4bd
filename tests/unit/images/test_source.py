"""Sources of projects: git addresses, links, secrets; and the route to the mirror."""

from __future__ import annotations

from pathlib import Path

import pytest

from images.sandbox import MirrorRoute
from images.source import read_source, redact_credentials, split_git_url
from mirror.core.errors import InputError
from mirror.core.wait import Deadline


@pytest.mark.parametrize(
    ("location", "url", "revision"),
    [
        ("https://h/x.git@v1", "https://h/x.git", "v1"),
        ("git+https://h/x", "https://h/x", "HEAD"),
        ("https://user:word@h/x", "https://user:word@h/x", "HEAD"),
        ("https://user:word@h/x@main", "https://user:word@h/x", "main"),
        ("git@h:o/x.git", "git@h:o/x.git", "HEAD"),
        ("ssh://git@h/x@release/1", "ssh://git@h/x", "release/1"),
    ],
)
def test_splits_git_addresses(location: str, url: str, revision: str) -> None:
    assert split_git_url(location) == (url, revision)


def test_refuses_a_revision_that_is_an_option() -> None:
    with pytest.raises(InputError, match="not a revision"):
        split_git_url("https://h/x@--upload-pack=evil")


def test_redacts_passwords() -> None:
    assert redact_credentials("at https://me:word@h/x") == "at https://h/x"


def test_refuses_links_that_lead_out_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "within").symlink_to("a")
    assert read_source(tmp_path, Deadline.after(5)).files == ("a", "within")
    for number, target in enumerate(("/etc/passwd", "../x", "sub/../../x")):
        link = tmp_path / f"out{number}"
        link.symlink_to(target)
        with pytest.raises(InputError, match="leads out of the project"):
            read_source(tmp_path, Deadline.after(5))
        link.unlink()
    (tmp_path / "out").symlink_to("/etc/passwd")
    (tmp_path / ".dockerignore").write_text("out\n")
    assert "out" not in read_source(tmp_path, Deadline.after(5)).files


def test_leaves_out_secrets_unless_they_are_requested(tmp_path: Path) -> None:
    for name in (".env", ".env.prod", ".env.example", "sub.txt"):
        (tmp_path / name).write_text("x")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/config").write_text("x")
    source = read_source(tmp_path, Deadline.after(5))
    assert source.files == (".env.example", "sub.txt")
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
def test_a_route_is_plain_http_to_an_ipv4_address(url: str) -> None:
    with pytest.raises(InputError, match="not a mirror that a build can use"):
        MirrorRoute.parse(url)
    route = MirrorRoute.parse("http://1.2.3.4:3141/a/b/")
    assert route.sandbox_url == "http://127.0.0.1:3141/a/b/"


def test_files_that_the_build_reads_are_never_ignored(tmp_path: Path) -> None:
    files = {
        "pyproject.toml": '[project]\nname = "x"\nreadme = "docs/READ.md"\n'
        'license-files = ["LEGAL"]\n[tool.setuptools.dynamic]\n'
        'dependencies = { file = ["needs.txt"] }\n',
        "docs/READ.md": "",
        "docs/other.md": "",
        "LEGAL": "",
        "needs.txt": "",
        "src/x.py": "",
        ".env": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / ".dockerignore").write_text("*\n!src\n")
    expected = (".dockerignore", "LEGAL", "docs/READ.md", "needs.txt", "pyproject.toml", "src/x.py")
    assert read_source(tmp_path, Deadline.after(5)).files == expected
