"""Pages of upstreams of all kinds, and of what is no upstream."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import canonicalize_name

from mirror.cache import project_page
from mirror.cache.errors import InvalidPageError, UnavailableError
from mirror.cache.names import is_distribution_filename, is_normalized
from mirror.settings import SIMPLE_JSON

BASE = "https://index.example/simple/some-lib/"
SHA = hashlib.sha256(b"x").hexdigest()


def document(*files: dict[str, Any], name: str = "Some.Lib") -> bytes:
    return json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": files}).encode()


def file(filename: str = "some_lib-1.0-py3-none-any.whl", **more: Any) -> dict[str, Any]:
    url = f"https://files.example/p/{filename}"
    return {"filename": filename, "url": url, "hashes": {"sha256": SHA}, **more}


def parse(
    body: bytes, kind: str = SIMPLE_JSON, project: str = "some-lib"
) -> project_page.ProjectPage:
    return project_page.parse_page(body, content_type=kind, url=BASE, project=project)


def test_each_file_leads_to_us_and_is_recorded() -> None:
    got = parse(document(file(), file("some-lib-1.0.tar.gz", **{"core-metadata": {"sha256": SHA}})))
    told = json.loads(got.body)
    assert told == got.document
    ours = f"../../../../root/pypi/+f/some-lib/{SHA}"
    assert [one["url"] for one in told["files"]] == [
        f"{ours}/some_lib-1.0-py3-none-any.whl",
        f"{ours}/some-lib-1.0.tar.gz",
    ]
    assert got.links.splitlines()[1:] == [
        f"{SHA} {name} https://files.example/p/{name} {metadata}"
        for name, metadata in (
            ("some_lib-1.0-py3-none-any.whl", "-"),
            ("some-lib-1.0.tar.gz", SHA),
        )
    ]


@pytest.mark.parametrize(
    "url",
    [
        "../../files/some_lib-1.0-py3-none-any.whl",
        "/files/some_lib-1.0-py3-none-any.whl",
        "https:\\/\\/index.example\\/files\\/some_lib-1.0-py3-none-any.whl",
        "https://index.example/files/some_lib-1.0-py3-none-any.whl#sha256=ab",
    ],
)
def test_urls_of_every_kind(url: str) -> None:
    """Relative, escaped in JSON, with a fragment: the record has the whole URL."""
    body = document(file()).replace(
        b"https://files.example/p/some_lib-1.0-py3-none-any.whl", url.encode()
    )
    got = parse(body)
    assert json.loads(got.body) == got.document
    assert " https://index.example/files/some_lib-1.0-py3-none-any.whl -" in got.links


def test_what_could_be_no_path_is_left_out() -> None:
    names = ("../../etc/passwd.whl", ".hidden.whl", "a/b.whl", "a\nb.whl", "no-distribution.txt")
    got = parse(document(file(), *(file(name) for name in names)))
    assert [one["filename"] for one in got.document["files"]] == ["some_lib-1.0-py3-none-any.whl"]
    assert json.loads(got.body) == got.document


def test_a_file_without_a_sha256_is_known_by_its_url() -> None:
    got = parse(document(file(hashes={"md5": "00"}), file("some-lib-2.tar.gz", hashes={})))
    for one in got.document["files"]:
        url = f"https://files.example/p/{one['filename']}"
        assert f"/url-{hashlib.sha256(url.encode()).hexdigest()}/" in one["url"]


def test_an_html_index() -> None:
    """PEP 503: the same page as from JSON, and back to HTML."""
    body = f"""<!DOCTYPE html><html><head><base href="/other/"></head><body>
        <a href="some_lib-1.0-py3-none-any.whl#sha256={SHA}" data-requires-python="&gt;=3.9"
           data-core-metadata="sha256=cd" data-yanked="broken">x</a>
        <a href="https://else.example/">elsewhere</a></body></html>"""
    got = parse(body.encode(), "text/html; charset=utf-8")
    (one,) = got.document["files"]
    assert one["requires-python"] == ">=3.9"
    assert one["yanked"] == "broken"
    assert f"{SHA} some_lib-1.0-py3-none-any.whl https://index.example/other/" in got.links
    text = project_page.render_html(got.document).decode()
    assert f'+f/some-lib/{SHA}/some_lib-1.0-py3-none-any.whl#sha256={SHA}"' in text
    assert 'data-requires-python="&gt;=3.9"' in text
    assert 'data-core-metadata="sha256=cd"' in text
    assert 'data-yanked="broken"' in text


def test_an_empty_project_is_a_page() -> None:
    assert parse(document()).document["files"] == []
    html = b"<html><head><title>Links for some-lib</title></head></html>"
    assert parse(html, "text/html").document["files"] == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html><a href='/login'>Log in</a></html>", "text/html"),
        (b"<html><a href='/other-1.0.tar.gz'>another project</a></html>", "text/html"),
        (b"", SIMPLE_JSON),
        (b"[]", SIMPLE_JSON),
        (b"[" * 100_000, SIMPLE_JSON),
        (b'{"files": 3}', SIMPLE_JSON),
        (document(name="another"), SIMPLE_JSON),
        (document(file(url=None)), SIMPLE_JSON),
        (document({"filename": 3}), SIMPLE_JSON),
        (document(file("../x.whl")), SIMPLE_JSON),
        (document(file()).replace(b"1.1", b"2.0"), SIMPLE_JSON),
        (document(file()), "application/octet-stream"),
        (b"\x00\xff" * 100, "text/html"),
    ],
)
def test_what_is_no_page_is_refused(body: bytes, kind: str) -> None:
    with pytest.raises(InvalidPageError) as refused:
        parse(body, kind)
    assert isinstance(refused.value, UnavailableError)


@given(st.binary(max_size=300), st.sampled_from([SIMPLE_JSON, "text/html"]))
def test_any_bytes_are_a_page_or_refused(body: bytes, kind: str) -> None:
    with suppress(InvalidPageError):
        parse(body, kind)


_JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "filename": _JSON_VALUES | st.just("some-lib-1.0.tar.gz"),
                "url": _JSON_VALUES | st.just("https://h.example/some-lib-1.0.tar.gz"),
                "hashes": _JSON_VALUES | st.just({"sha256": SHA}),
                "core-metadata": _JSON_VALUES,
                "yanked": _JSON_VALUES,
            },
        ),
        max_size=4,
    )
)
def test_any_json_is_a_page_or_refused(files: list[dict[str, Any]]) -> None:
    try:
        got = parse(document(*files))
    except InvalidPageError:
        return
    assert json.loads(got.body) == got.document
    project_page.render_html(got.document)
    assert all(len(line.split(" ")) == 4 for line in got.links.splitlines()[1:])


@given(st.text(max_size=40))
def test_names_that_pass_are_safe_as_paths(name: str) -> None:
    assert not is_normalized(name) or canonicalize_name(name) == name
    if is_distribution_filename(name):
        assert "/" not in name and not name.startswith(".") and "\n" not in name
