"""The page store: what is on the volume, and what happens when that is full."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path

import pytest

from mirror.cache.page_store import PageStore
from mirror.cache.project_page import ProjectPage, parse_page
from mirror.settings import SIMPLE_JSON

SHA = "ab" * 32


def make_page(*versions: str) -> ProjectPage:
    """Make a page of the project lib; version 2 has core metadata."""
    files = [
        {
            "filename": f"lib-{version}.tar.gz",
            "url": f"https://h.example/lib-{version}.tar.gz",
            "hashes": {"sha256": SHA},
            "core-metadata": {"sha256": "cd" * 32} if version == "2" else False,
        }
        for version in versions
    ]
    body = json.dumps({"meta": {"api-version": "1.0"}, "name": "lib", "files": files}).encode()
    return parse_page(body, content_type=SIMPLE_JSON, url="https://h.example/", project="lib")


@pytest.fixture
def store(tmp_path: Path) -> PageStore:
    store = PageStore(tmp_path)
    store.prepare_for("https://h.example/simple/")
    return store


def test_saves_publishes_and_unpublishes_a_page(store: PageStore, tmp_path: Path) -> None:
    assert store.find_page("lib") is None
    store.save_page("lib", make_page("1"), '"tag"')
    page = store.find_page("lib")
    assert page is not None
    assert page.etag == '"tag"'
    assert abs(page.checked_at - time.time()) < 60
    published = tmp_path / "fresh/lib.json"
    for _ in range(2):
        store.publish("lib", "json")
    assert published.samefile(store.page_path("lib", "json"))
    store.save_page("lib", make_page("1", "2"), "")
    assert not published.exists()
    assert list((tmp_path / "partial").iterdir()) == []


def test_finds_the_source_of_a_file_and_of_its_metadata(store: PageStore) -> None:
    store.save_page("lib", make_page("1", "2"), "")
    source = store.find_source("lib", SHA, "lib-2.tar.gz")
    assert source is not None
    assert source.url == "https://h.example/lib-2.tar.gz"
    assert source.hashes == {"sha256": SHA}
    metadata = store.find_source("lib", SHA, "lib-2.tar.gz.metadata")
    assert metadata is not None
    assert metadata.url == "https://h.example/lib-2.tar.gz.metadata"
    assert metadata.hashes == {"sha256": "cd" * 32}
    assert store.find_source("lib", SHA, "lib-1.tar.gz.metadata") is None
    assert store.find_source("lib", SHA, "lib-3.tar.gz") is None
    assert store.find_source("other", SHA, "lib-1.tar.gz") is None


def test_keeps_the_old_page_when_the_volume_is_full(
    store: PageStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store.save_page("lib", make_page("1"), "first")
    write_bytes, writes_left = Path.write_bytes, [2]

    def write_until_full(self: Path, content: bytes) -> int:
        writes_left[0] -= 1
        if writes_left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return write_bytes(self, content)

    monkeypatch.setattr(Path, "write_bytes", write_until_full)
    with pytest.raises(OSError, match="No space"):
        store.save_page("lib", make_page("1", "2"), "second")
    page = store.find_page("lib")
    assert page is not None
    assert page.etag == "first"
    assert len(json.loads(store.page_path("lib", "json").read_bytes())["files"]) == 1
    assert list((tmp_path / "partial").iterdir()) == []


def test_ignores_a_truncated_page(store: PageStore) -> None:
    """As after a power failure."""
    store.save_page("lib", make_page("1"), "")
    os.truncate(store.page_path("lib", "json"), 10)
    assert store.find_page("lib") is None


def test_another_upstream_replaces_pages_but_keeps_files(store: PageStore, tmp_path: Path) -> None:
    store.save_page("lib", make_page("1"), "")
    store.publish("lib", "json")
    partial = store.new_partial_path()
    partial.write_bytes(b"content")
    store.commit_file(partial, store.file_path("lib", SHA, "lib-1.tar.gz"), SHA)
    restarted = PageStore(tmp_path)
    restarted.prepare_for("https://h.example/simple/")
    assert restarted.find_page("lib") is not None
    assert list((tmp_path / "fresh").iterdir()) == []
    restarted.prepare_for("https://other.example/simple/")
    assert restarted.find_page("lib") is None
    assert restarted.file_path("lib", SHA, "lib-1.tar.gz").read_bytes() == b"content"
    assert restarted.count_contents() == {"pages": 0, "files": 1, "bytes": 7}


def test_adopting_a_file_that_is_not_there_leaves_no_folder(tmp_path: Path) -> None:
    """`verify` takes an empty folder for a file that was lost."""
    store = PageStore(tmp_path)
    source, target = tmp_path / "files/lib/a/lib-1.whl", tmp_path / "packages/aa/bb/cc/lib-1.whl"
    assert not store.adopt_file(source, target)
    assert not target.parent.exists()
    source.parent.mkdir(parents=True)
    source.write_bytes(b"wheel")
    assert store.adopt_file(source, target)
    assert store.adopt_file(source, target)
    assert target.samefile(source)
