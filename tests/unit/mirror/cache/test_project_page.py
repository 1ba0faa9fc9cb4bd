"""Parse pages of every kind of index, and refuse what is not a page."""

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


def make_document(*files: dict[str, Any], name: str = "Some.Lib") -> bytes:
    return json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": files}).encode()


def make_file(filename: str = "some_lib-1.0-py3-none-any.whl", **fields: Any) -> dict[str, Any]:
    url = f"https://files.example/p/{filename}"
    return {"filename": filename, "url": url, "hashes": {"sha256": SHA}, **fields}


def parse(
    body: bytes, kind: str = SIMPLE_JSON, project: str = "some-lib"
) -> project_page.ProjectPage:
    return project_page.parse_page(body, content_type=kind, url=BASE, project=project)


def test_links_files_to_the_mirror_and_records_their_urls() -> None:
    page = parse(
        make_document(
            make_file(), make_file("some-lib-1.0.tar.gz", **{"core-metadata": {"sha256": SHA}})
        )
    )
    document = json.loads(page.body)
    assert document == page.document
    prefix = f"../../../../root/pypi/+f/some-lib/{SHA}"
    assert [file["url"] for file in document["files"]] == [
        f"{prefix}/some_lib-1.0-py3-none-any.whl",
        f"{prefix}/some-lib-1.0.tar.gz",
    ]
    assert page.links.splitlines()[1:] == [
        f"{SHA} {name} https://files.example/p/{name} {metadata}"
        for name, metadata in (("some_lib-1.0-py3-none-any.whl", "-"), ("some-lib-1.0.tar.gz", SHA))
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
def test_resolves_urls(url: str) -> None:
    """The record has the absolute URL of relative and escaped ones, without the fragment."""
    body = make_document(make_file()).replace(
        b"https://files.example/p/some_lib-1.0-py3-none-any.whl", url.encode()
    )
    page = parse(body)
    assert json.loads(page.body) == page.document
    assert " https://index.example/files/some_lib-1.0-py3-none-any.whl -" in page.links


def test_drops_files_whose_names_are_not_safe_as_paths() -> None:
    names = ("../../etc/passwd.whl", ".hidden.whl", "a/b.whl", "a\nb.whl", "no-distribution.txt")
    page = parse(make_document(make_file(), *(make_file(name) for name in names)))
    assert [file["filename"] for file in page.document["files"]] == [
        "some_lib-1.0-py3-none-any.whl"
    ]
    assert json.loads(page.body) == page.document


@pytest.mark.parametrize("hashes", [{}, {"md5": "00"}, {"sha256": 3}, {"sha256": f"url-{SHA}"}])
def test_a_file_without_a_sha256_has_a_folder_named_by_its_url(hashes: dict[str, Any]) -> None:
    page = parse(make_document(make_file(hashes=hashes)))
    for file in page.document["files"]:
        url = f"https://files.example/p/{file['filename']}"
        assert f"/url-{hashlib.sha256(url.encode()).hexdigest()}/" in file["url"]


def test_parses_and_renders_html() -> None:
    """HTML (PEP 503) becomes the same document as JSON, and can be rendered again."""
    body = f"""<!DOCTYPE html><html><head><base href="/other/"></head><body>
        <a href="some_lib-1.0-py3-none-any.whl#sha256={SHA}" data-requires-python="&gt;=3.9"
           data-core-metadata="sha256=cd" data-yanked="broken">x</a>
        <a href="https://else.example/">elsewhere</a></body></html>"""
    page = parse(body.encode(), "text/html; charset=utf-8")
    (file,) = page.document["files"]
    assert file["requires-python"] == ">=3.9"
    assert file["yanked"] == "broken"
    assert f"{SHA} some_lib-1.0-py3-none-any.whl https://index.example/other/" in page.links
    html = project_page.render_html(page.document).decode()
    assert f'+f/some-lib/{SHA}/some_lib-1.0-py3-none-any.whl#sha256={SHA}"' in html
    assert 'data-requires-python="&gt;=3.9"' in html
    assert 'data-core-metadata="sha256=cd"' in html
    assert 'data-yanked="broken"' in html


def test_accepts_a_project_without_files() -> None:
    assert parse(make_document()).document["files"] == []
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
        (make_document(name="another"), SIMPLE_JSON),
        (make_document(make_file(url=None)), SIMPLE_JSON),
        (make_document({"filename": 3}), SIMPLE_JSON),
        (make_document(make_file("../x.whl")), SIMPLE_JSON),
        (make_document(make_file()).replace(b"1.1", b"2.0"), SIMPLE_JSON),
        (make_document(make_file()), "application/octet-stream"),
        (b"\x00\xff" * 100, "text/html"),
        (b"<![\xff", "text/html"),
        (b"<![nothing[", "text/html"),
        (b"<base href='http://['>", "text/html"),
    ],
)
def test_rejects_what_is_not_a_page(body: bytes, kind: str) -> None:
    with pytest.raises(InvalidPageError) as error:
        parse(body, kind)
    assert isinstance(error.value, UnavailableError)


@given(st.binary(max_size=300), st.sampled_from([SIMPLE_JSON, "text/html"]))
def test_parses_or_rejects_any_bytes(body: bytes, kind: str) -> None:
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
def test_parses_or_rejects_any_json(files: list[dict[str, Any]]) -> None:
    try:
        page = parse(make_document(*files))
    except InvalidPageError:
        return
    assert json.loads(page.body) == page.document
    project_page.render_html(page.document)
    assert all(len(line.split(" ")) in (4, 5) for line in page.links.splitlines()[1:])


@given(st.text(max_size=40))
def test_accepted_names_are_safe_as_paths(name: str) -> None:
    assert not is_normalized(name) or canonicalize_name(name) == name
    if is_distribution_filename(name):
        assert "/" not in name and not name.startswith(".") and "\n" not in name


@pytest.mark.parametrize(
    "body",
    [
        make_document(make_file()),
        b"\xef\xbb\xbf" + make_document(make_file()),
        b" \n<!doctype html><a href='/some_lib-1.0-py3-none-any.whl'>x</a>",
        b"<HTML><a href='/some_lib-1.0-py3-none-any.whl'>x</a></HTML>",
    ],
)
def test_the_body_of_a_page_without_a_content_type_tells(body: bytes) -> None:
    assert len(parse(body, "").document["files"]) == 1


@pytest.mark.parametrize(
    "body", [b"<html><a href='/login'>Log in</a></html>", b"plain text", b"", b"[1]"]
)
def test_other_bodies_without_a_content_type_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidPageError):
        parse(body, "")


def test_a_bad_entry_is_dropped_among_good_ones() -> None:
    good = make_file("some_lib-1.0.tar.gz")
    bad: list[Any] = [
        make_file(url=None),
        make_file(url=3),
        {"filename": 3, "url": "x"},
        {},
        "text",
        None,
        make_file(url="http://["),
    ]
    document = json.loads(make_document(good))
    document["files"] = [*bad, *document["files"], *bad]
    page = parse(json.dumps(document).encode())
    assert [file["filename"] for file in page.document["files"]] == ["some_lib-1.0.tar.gz"]


@pytest.mark.parametrize("hashes", [{"sha256": None}, {"sha256": ""}, {"md5": 5}, None, []])
def test_hashes_that_are_none_are_dropped(hashes: object) -> None:
    page = parse(make_document(make_file(hashes=hashes)))
    assert page.document["files"][0]["hashes"] == {}
    html = project_page.render_html(page.document).decode()
    assert "#" not in html.partition("<a ")[2].partition(">")[0]


@pytest.mark.parametrize("text", ["\\ud800", "x\\udfffy"])
@pytest.mark.parametrize("key", ["filename", "url", "requires-python"])
def test_lone_surrogates_are_no_crash(text: str, key: str) -> None:
    document = make_document(make_file("some_lib-1.0.tar.gz"), make_file(**{"requires-python": ""}))
    value = {"filename": b"some_lib-1.0-", "url": b"https://files.example/p/"}.get(key, b"")
    old = (
        b'"requires-python": "'
        if key == "requires-python"
        else b'"%s": "%s' % (key.encode(), value)
    )
    body = document.replace(old, old + text.encode())
    assert body != document
    with suppress(InvalidPageError):
        parse(body).body.decode()


def test_other_hashes_are_recorded_to_be_checked() -> None:
    md5, sha512 = "AB" * 16, "cd" * 64
    page = parse(
        make_document(
            make_file("some_lib-1.0.tar.gz", hashes={"md5": md5, "sha512": sha512, "other": "ef"}),
            make_file("some_lib-1.1.tar.gz", hashes={"sha256": SHA.upper(), "md5": "short"}),
            make_file("some_lib-1.2.tar.gz", hashes={"sha256": SHA, "md5": "zz" * 16}),
        )
    )
    first, second, third = page.links.splitlines()[1:]
    assert first.endswith(f" - md5={md5.lower()},sha512={sha512}")
    assert second.startswith(f"{SHA} ")
    assert second.endswith(" -")
    assert third.endswith(" -")


def test_the_status_of_a_project_is_in_both_forms() -> None:
    """PEP 792."""
    status = {"status": "quarantined", "reason": 'bad "stuff" <here>'}
    document = json.loads(make_document(make_file())) | {"project-status": status}
    page = parse(json.dumps(document).encode())
    assert page.document["project-status"] == status
    html = project_page.render_html(page.document)
    assert b'<meta name="pypi:project-status" content="quarantined">' in html
    assert parse(html, "text/html").document["project-status"] == status
    assert b"project-status" not in project_page.render_html(parse(make_document()).document)


def test_links_of_an_index_with_relative_links_and_md5() -> None:
    """As Nexus writes them."""
    body = (
        "<html><head><title>Links for some-lib</title></head><body>"
        '<a href="../../packages/some-lib/1.0/some_lib-1.0%2Blocal-py3-none-any.whl'
        f'#md5={"ab" * 16}"'
        ' data-requires-python="&gt;=3.8" rel="internal">x</a><br/></body></html>'
    )
    page = parse(body.encode(), "text/html")
    (file,) = page.document["files"]
    assert file["filename"] == "some_lib-1.0+local-py3-none-any.whl"
    assert file["hashes"] == {"md5": "ab" * 16}
    assert " https://index.example/packages/some-lib/1.0/" in page.links
    assert page.links.rstrip().endswith(f"- md5={'ab' * 16}")
    html = project_page.render_html(page.document).decode()
    assert f"#md5={'ab' * 16}" in html
