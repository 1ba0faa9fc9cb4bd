"""What the cache makes of each standard's keys: the table of docs/standards.md."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mirror.cache.project_page import parse_page, render_html

SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"
BLAKE2 = "ab" + "/cd/" + "e" * 60
HOST = "https://files.example"
FILE: dict[str, Any] = {
    "filename": "lib-1.0-py3-none-any.whl",
    "url": f"{HOST}/packages/{BLAKE2}/lib-1.0-py3-none-any.whl",
    "hashes": {"sha256": "a" * 64},
    "requires-python": ">=3.9",
    "yanked": "broken",
    "core-metadata": {"sha256": "c" * 64},
    "data-dist-info-metadata": {"sha256": "c" * 64},
    "size": 1234,
    "upload-time": "2026-01-02T03:04:05.000006Z",
    "provenance": "https://index.example/integrity/lib/1.0/lib-1.0-py3-none-any.whl/provenance",
}
PAGE: dict[str, Any] = {
    "meta": {
        "api-version": "1.4",
        "_last-serial": 7,
        "tracks": ["https://other.example/simple/lib/"],
    },
    "name": "lib",
    "alternate-locations": ["https://index.example/simple/lib/"],
    "project-status": {"status": "archived", "reason": "moved"},
    "versions": ["1.0"],
    "files": [FILE],
}


def convert(page: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the page that clients get, as JSON and as HTML."""
    body = json.dumps(page, separators=(",", ":")).encode()
    url = "https://index.example/simple/lib/"
    served = parse_page(body, content_type=SIMPLE_JSON, url=url, project="lib")
    return json.loads(served.body), render_html(served.document).decode()


# a page whose links are reversible, and one whose links are recorded: they take different ways
PAGES = {
    "reversible": PAGE,
    "recorded": PAGE | {"files": [FILE | {"url": f"{HOST}/elsewhere/lib-1.0-py3-none-any.whl"}]},
}


@pytest.mark.parametrize("kind", ["reversible", "recorded"])
def test_json_is_passed_on_but_for_the_links(kind: str) -> None:
    page = PAGES[kind]
    served, _ = convert(page)
    url = served["files"][0].pop("url")
    assert url.startswith("../../../../")
    expected = page | {"files": [{key: page["files"][0][key] for key in FILE if key != "url"}]}
    assert served == expected


@pytest.mark.parametrize(
    "text",
    [
        '<meta name="pypi:repository-version" content="1.0">',  # PEP 629
        "#sha256=" + "a" * 64,  # PEP 503
        'data-requires-python="&gt;=3.9"',
        'data-yanked="broken"',  # PEP 592
        f'data-dist-info-metadata="sha256={"c" * 64}"',  # PEP 658
        f'data-core-metadata="sha256={"c" * 64}"',  # PEP 714
        '<meta name="pypi:project-status" content="archived">',  # PEP 792
        '<meta name="pypi:project-status-reason" content="moved">',
    ],
)
def test_html_has(text: str) -> None:
    assert text in convert(PAGE)[1]


@pytest.mark.parametrize("word", ["tracks", "alternate-location", "provenance", "1234"])
def test_html_leaves_out(word: str) -> None:
    """PEP 708 and 740, which pages of the upstream's JSON have; PEP 700 has no HTML."""
    assert word not in convert(PAGE)[1]


def test_signatures_are_dropped() -> None:
    served, html = convert(PAGE | {"files": [FILE | {"gpg-sig": True}]})
    assert "gpg-sig" not in served["files"][0]
    assert "gpg" not in html


def test_an_upstream_without_json() -> None:
    """Its HTML becomes JSON, with what HTML can say."""
    html = render_html(PAGE)
    url = "https://index.example/simple/lib/"
    served = parse_page(html, content_type="text/html", url=url, project="lib")
    document = json.loads(served.body)
    (file,) = document["files"]
    del file["url"]
    assert document == {
        "meta": {"api-version": "1.0"},
        "name": "lib",
        "project-status": {"status": "archived", "reason": "moved"},
        "files": [
            {
                "filename": "lib-1.0-py3-none-any.whl",
                "hashes": {"sha256": "a" * 64},
                "requires-python": ">=3.9",
                "yanked": "broken",
                "core-metadata": {"sha256": "c" * 64},
            }
        ],
    }
