"""Reversible links: which pages have them, what a path says, and entries of pages."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import quote

import pytest

from mirror.cache.errors import InvalidPageError
from mirror.cache.package_paths import PackagePath, find_origin, guess_projects
from mirror.cache.page_entries import find_entries, find_entry
from mirror.cache.project_page import parse_page
from mirror.settings import SIMPLE_JSON

ORIGIN = "https://files.example/packages/"
SHA = "ab" * 32


def path_of(filename: str) -> str:
    digest = hashlib.blake2b(filename.encode(), digest_size=32).hexdigest()
    return f"{digest[:2]}/{digest[2:4]}/{digest[4:]}/{filename}"


def entry(filename: str, **fields: Any) -> dict[str, Any]:
    return {
        "core-metadata": {"sha256": "cd" * 32},
        "filename": filename,
        "hashes": {"sha256": SHA},
        "url": ORIGIN + path_of(filename),
        **fields,
    }


def make_page(*files: dict[str, Any], **fields: Any) -> bytes:
    page = {"meta": {"api-version": "1.4", "_last-serial": 7}, "name": "Some.Lib", **fields}
    return json.dumps({**page, "files": list(files)}, indent=1).encode()


def parse(body: bytes, **options: Any) -> Any:
    arguments = {
        "content_type": SIMPLE_JSON,
        "url": "https://index.example/simple/some-lib/",
        "project": "some-lib",
    }
    return parse_page(body, **arguments | options)


WHEEL, SDIST = "some_lib-1.0-py3-none-any.whl", "some_lib-1.0.tar.gz"


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_only_the_start_of_each_link_changes(separators: tuple[str, str]) -> None:
    document = json.loads(make_page(entry(WHEEL), entry(SDIST, **{"requires-python": ">=3"})))
    body = json.dumps(document, separators=separators).encode()
    page = parse(body)
    assert page.origin == ORIGIN
    assert page.links == ""
    start = f'"url":{separators[1][1:]}"'.encode()
    expected = body.replace(start + ORIGIN.encode(), b'"url":"../../../../packages/')
    assert page.body == expected


@pytest.mark.parametrize(
    "change",
    [
        {"url": "https://other.example/packages/" + path_of(SDIST)},
        {"url": ORIGIN + path_of(WHEEL)},
        {"url": ORIGIN + path_of(SDIST).upper()},
        {"url": ORIGIN + path_of(SDIST) + "?x=1"},
        {"url": ORIGIN + "../" + path_of(SDIST)},
        {"url": ORIGIN + path_of(SDIST).replace("/", "//", 1)},
        {"url": "https://files.example/other/" + SDIST},
        {"url": "../../packages/" + path_of(SDIST)},
    ],
)
def test_one_other_link_makes_all_links_the_old_ones(change: dict[str, str]) -> None:
    page = parse(make_page(entry(WHEEL), entry(SDIST, **change)))
    assert page.origin == ""
    assert [file["url"].split("/")[:7] for file in page.document["files"]] == [
        ["..", "..", "..", "..", "root", "pypi", "+f"]
    ] * 2
    assert len(page.links.splitlines()) == 3


def test_links_of_html_and_relative_links_can_be_reversible() -> None:
    body = f'<!DOCTYPE html><a href="/packages/{path_of(WHEEL)}#sha256={SHA}">x</a>'.encode()
    page = parse(body, content_type="text/html")
    assert page.origin == "https://index.example/packages/"
    assert page.document["files"][0]["url"] == f"../../../../packages/{path_of(WHEEL)}"


@pytest.mark.parametrize(
    "files",
    [
        [entry(WHEEL), {"filename": SDIST, "url": ORIGIN + path_of(SDIST), "gpg-sig": True}],
        [entry(WHEEL), entry(SDIST, note={"url": ORIGIN + path_of(SDIST)})],
        [entry(WHEEL), entry("some lib-1.0.tar.gz")],
        [entry("../x-1.0.tar.gz"), entry(WHEEL)],
    ],
)
def test_what_needs_a_closer_look_gets_it(files: list[dict[str, Any]]) -> None:
    """The page as it is would promise signatures, or contain a link that was not checked."""
    page = parse(make_page(*files))
    assert "gpg-sig" not in page.body.decode()
    assert ORIGIN + path_of(WHEEL) not in page.body.decode()
    assert all(
        " " not in f["filename"] and ".." not in f["filename"] for f in page.document["files"]
    )


def test_quoted_names() -> None:
    name = "some_lib-1!2.0+cu12-py3-none-any.whl"
    url = ORIGIN + path_of(name).replace("!", "%21").replace("+", "%2B")
    page = parse(make_page(entry(name, url=url)))
    assert page.origin == ORIGIN
    assert find_origin([ORIGIN + path_of(name)], [name]) == ORIGIN, "another spelling"
    assert find_origin([ORIGIN + path_of("a%2F-1.zip")], ["a%2F-1.zip"]) == ""
    path = PackagePath.parse(path_of(name).split("/"))
    assert path is not None
    assert path_of(name) in path.spellings
    assert url.removeprefix(ORIGIN) in path.spellings


@pytest.mark.parametrize(
    ("parts", "is_path"),
    [
        (path_of(WHEEL).split("/"), True),
        (path_of(f"{WHEEL}.metadata").split("/"), True),
        (["..", "..", *path_of(WHEEL).split("/")[2:]], False),
        ([*path_of(WHEEL).split("/")[:3], "x.txt"], False),
        ([*path_of(WHEEL).split("/")[:3], "..", WHEEL], False),
        ([*path_of(WHEEL).split("/")[:3], "a\x00b.whl"], False),
        ([*path_of(WHEEL).split("/")[:3], "a/b.whl"], False),
        (["ab\n", "cd", "0" * 60, WHEEL], False),
        (["AB", "cd", "0" * 60, WHEEL], False),
        ([WHEEL], False),
    ],
)
def test_parses_paths(parts: list[str], is_path: bool) -> None:
    path = PackagePath.parse(parts)
    assert (path is not None) == is_path
    if path is not None:
        assert str(path) == "/".join(parts)
        assert path.blake2b == "".join(parts[:3])
        assert path.distribution.filename == WHEEL or not path.is_metadata


@pytest.mark.parametrize(
    ("filename", "first"),
    [
        ("Some_Lib-1.0-py3-none-any.whl", "some-lib"),
        ("some-lib-1.0.tar.gz", "some-lib"),
        ("some.lib-1.0.zip.metadata", "some-lib"),
        ("lib-2to3-1.0.tar.gz", "lib"),
    ],
)
def test_guesses_the_project_of_a_file(filename: str, first: str) -> None:
    assert next(guess_projects(filename)) == first


def test_guesses_every_project_that_a_file_can_belong_to() -> None:
    assert list(guess_projects("lib-2to3-1.0.tar.gz")) == ["lib", "lib-2to3"]


def test_finds_entries_of_a_large_page() -> None:
    names = [f"some_lib-{n}.0-py3-none-any.whl" for n in range(3000)]
    files = [entry(name, hashes={"sha256": f"{n:064x}"}) for n, name in enumerate(names)]
    files[7]["core-metadata"] = False
    files[8]["core-metadata"] = True
    files[9]["hashes"] = {}
    body = parse(make_page(*files)).body
    for number in (0, 6, 2999):
        found = find_entry(body, path_of(names[number]))
        assert found is not None
        assert found.sha256 == f"{number:064x}"
        assert found.metadata_sha256 == "cd" * 32
    metadata = [find_entry(body, path_of(names[number])) for number in (7, 8)]
    assert [found and found.metadata_sha256 for found in metadata] == [None, ""]
    ninth = find_entry(body, path_of(names[9]))
    assert ninth is not None
    assert ninth.sha256 == ""
    assert find_entry(body, path_of("another-1.0.tar.gz")) is None


def test_finds_no_entry_in_other_texts() -> None:
    """A text of another key that looks like a link is none."""
    body = make_page(entry(WHEEL, **{"requires-python": f"x/{SDIST}"}), versions=[f"x/{SDIST}"])
    assert list(find_entries(body, f"/{SDIST}")) == []
    assert len(list(find_entries(body, f"/{WHEEL}"))) == 1


def test_only_the_links_of_files_change() -> None:
    note = {"url": ORIGIN + path_of(SDIST)}
    page = parse(make_page(entry(WHEEL), entry(SDIST, note=note)))
    assert page.document["files"][1]["note"] == note
    assert page.origin == ORIGIN


def test_refuses_the_page_of_another_project() -> None:
    with pytest.raises(InvalidPageError):
        parse(make_page(entry(WHEEL), name="another"))
    with pytest.raises(InvalidPageError):
        parse(make_page(entry(WHEEL), meta={"api-version": "2.0"}))


@pytest.mark.parametrize(
    ("filename", "is_plain"),
    [
        (WHEEL, True),
        ("a-1.zip", True),
        ("a" * 216 + ".zip", True),
        ("a" * 217 + ".zip", False),
        (".a-1.zip", False),
        ("-a-1.zip", False),
        ("a-1.txt", False),
        ("a-1.zip\nb-1.zip", False),
        ("aä-1.zip", True),
        ("a b-1.zip", False),
    ],
)
def test_accepts_only_names_that_can_become_paths(filename: str, is_plain: bool) -> None:
    """Quoted in the URL, if need be."""
    urls = [ORIGIN + path_of(WHEEL), ORIGIN + path_of(WHEEL)[: -len(WHEEL)] + quote(filename)]
    assert find_origin(urls, [WHEEL, filename]) == (ORIGIN if is_plain else "")


@pytest.mark.parametrize(
    "digest",
    [
        *("ab/cd/" + "0" * 59 + "g/", "ab/cd/" + "0" * 59 + "A/", "ab/cd/" + "0" * 59 + "é/"),
        *("abc/d/" + "0" * 60 + "/", "ab/c/d" + "0" * 60 + "/", "ab/cd/" + "0" * 61),
        *("ab/cd/" + "0" * 59 + "//", "ab/cd/" + "0" * 59 + "/"),
    ],
)
def test_accepts_only_digests_before_the_name(digest: str) -> None:
    assert find_origin([ORIGIN + path_of(WHEEL), ORIGIN + digest + WHEEL], [WHEEL, WHEEL]) == ""


@pytest.mark.parametrize("host", ["abc", "abcd", "abcde", "files.example"])
def test_origins_of_any_length(host: str) -> None:
    """Also one that is as long as what replaces it."""
    origin = f"http://{host}/packages/"
    files = [entry(name, url=origin + path_of(name)) for name in (WHEEL, SDIST)]
    page = parse(make_page(*files))
    assert page.origin == origin
    assert page.document["files"][1]["url"] == f"../../../../packages/{path_of(SDIST)}"
    note = {"url": origin + path_of(SDIST)}
    noted = parse(make_page(files[0], {**files[1], "note": note}))
    assert noted.document["files"][1]["note"] == note


def test_an_entry_is_found_after_texts_like_it() -> None:
    body = make_page(
        entry(SDIST, note=f"x/{WHEEL}", **{"requires-python": f"x/{WHEEL}"}), entry(WHEEL)
    )
    assert len(list(find_entries(body, f"/{WHEEL}"))) == 1
