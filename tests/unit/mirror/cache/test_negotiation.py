"""The form of a page by the Accept header, as RFC 9110 and PEP 691 say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cache.negotiation import choose_form

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", "html"),
        ("*/*", "html"),
        ("text/html", "html"),
        ("text/*", "html"),
        (HTML, "html"),
        (JSON, "json"),
        (JSON.upper(), "json"),
        (f"{JSON}; q=0.2", "json"),
        ("application/vnd.pypi.simple.latest+json", "json"),
        ("application/vnd.pypi.simple.latest+html", "html"),
        (f"{JSON}, {HTML};q=0.2, text/html;q=0.01", "json"),
        (f"{JSON};q=0.1, text/html", "html"),
        (f"{JSON};q=0.1, text/html;q=0.2", "html"),
        (f"{JSON};q=0.1, {HTML};q=0.2", "html"),
        (f"{JSON};q=0.3, text/html;q=0.2", "json"),
        (f"text/html, {JSON}", "json"),
        (f"{JSON};q=0", "html"),
        (f"{JSON};q=0, */*", "html"),
        (f"{JSON};Q=0.000", "html"),
        ("text/html;q=0, */*", "json"),
        (f"text/html;q=0, {JSON};q=0.001", "json"),
        ("application/*", "json"),
        ("application/json", "html"),
        (f"{JSON}x", "html"),
        (f"x{JSON}", "html"),
        ("application/vnd.pypi.simple.v2+json", "html"),
        (f"{JSON};q=nonsense, text/html;q=0.1", "html"),
        (f"{JSON};q=7, text/html;q=0.1", "html"),
        (f"{JSON};q=nan, text/html;q=0.1", "html"),
        (f"{JSON} ; charset=utf-8 ; q = 0.9 , text/html; q=0.5", "json"),
        (",,;q=1,", "html"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "html"),
    ],
)
def test_chooses_the_form_that_the_client_prefers(accept: str, form: str) -> None:
    assert choose_form(accept) == form


@given(st.text(alphabet="aj/*;=q,.01 +htmlpson", max_size=60))
def test_any_text_has_a_form(accept: str) -> None:
    assert choose_form(accept) in {"json", "html"}
