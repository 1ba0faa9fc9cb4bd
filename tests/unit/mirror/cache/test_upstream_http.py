"""The cache against an index that obeys HTTP: forms, encodings, ETags, redirects, limits."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from mirror import volume
from mirror.settings import SIMPLE_JSON
from tests.faults.cache_process import CacheClient
from tests.faults.faulty_upstream import FaultyUpstream, PageHttp


def get_page(cache: CacheClient, project: str) -> httpx.Response:
    url = f"{cache.url}/workloads/stable/+simple/{project}/"
    return httpx.get(url, headers={"Accept": SIMPLE_JSON}, trust_env=False, timeout=60)


def list_filenames(cache: CacheClient, project: str) -> list[str]:
    page = json.loads(cache.read_body(get_page(cache, project)))
    return [file["filename"] for file in page["files"]]


def expire_page(cache: CacheClient, project: str) -> None:
    long_ago = time.time() - 3600
    os.utime(volume.links_path(cache.root, project), (long_ago, long_ago))


@pytest.mark.parametrize("is_html_only", [False, True])
@pytest.mark.parametrize("is_gzip", [False, True])
@pytest.mark.parametrize("moved_to", ["", "/elsewhere/"])
def test_pages_in_every_form_lead_to_verified_files(
    cache: CacheClient, index: FaultyUpstream, is_html_only: bool, is_gzip: bool, moved_to: str
) -> None:
    index.is_html_only = is_html_only
    index.http = PageHttp(is_gzip=is_gzip, moved_to=moved_to, has_etags=True)
    index.add_project("lib")
    (file,) = index.projects["lib"].files.values()
    assert cache.fetch_sha256("lib") == file.sha256
    assert cache.fetch_sha256("lib") == file.sha256
    assert set(index.request_counts.values()) == {1}


def test_asks_for_json_and_takes_html(cache: CacheClient, index: FaultyUpstream) -> None:
    index.add_project("lib")
    cache.fetch_sha256("lib")
    (page,) = index.find_requests("/simple/lib/")
    forms = [form.partition(";q=") for form in page.headers["accept"].split(", ")]
    accept = {form: float(quality or 1) for form, _, quality in forms}
    assert max(accept, key=accept.__getitem__) == SIMPLE_JSON
    assert accept["text/html"] > 0
    assert page.headers["accept-encoding"] == "gzip"
    (file,) = (request for request in index.requests if request is not page)
    assert file.headers["accept-encoding"] == "identity", "its bytes are hashed as they come"
    for request in index.requests:
        assert request.headers["user-agent"] == "pypi-mirror"
        assert "cookie" not in request.headers
        assert "if-none-match" not in request.headers


def test_an_expired_page_is_asked_for_by_its_etag(
    cache: CacheClient, index: FaultyUpstream
) -> None:
    index.http.has_etags = True
    index.add_project("lib", "1.0")
    list_filenames(cache, "lib")
    expire_page(cache, "lib")
    assert len(list_filenames(cache, "lib")) == 1
    index.add_project("lib", "2.0")
    expire_page(cache, "lib")
    assert len(list_filenames(cache, "lib")) == 2
    expire_page(cache, "lib")
    list_filenames(cache, "lib")
    etags = [
        request.headers.get("if-none-match") for request in index.find_requests("/simple/lib/")
    ]
    assert etags[0] is None
    assert etags[1] == etags[2] != etags[3]
    assert None not in etags[1:]


def test_a_short_pause_is_waited_for(cache: CacheClient, index: FaultyUpstream) -> None:
    index.http = PageHttp(retry_after="1", limited=1)
    index.add_project("lib")
    assert len(list_filenames(cache, "lib")) == 1
    assert index.request_counts["/simple/lib/"] == 2


@pytest.mark.parametrize("is_date", [False, True])
def test_a_long_pause_is_passed_on(
    cache: CacheClient, index: FaultyUpstream, is_date: bool
) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True)
    index.http = PageHttp(retry_after=date if is_date else "600", limited=1)
    index.add_project("lib")
    index.add_project("other")
    answer = get_page(cache, "lib")
    assert answer.status_code == 503, "it is not this client that asks too often"
    assert 500 < int(answer.headers["Retry-After"]) <= 600
    assert len(list_filenames(cache, "other")) == 1, "other pages are not affected"
