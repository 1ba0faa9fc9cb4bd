"""What lies on the volume, and what a full one does to it."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path

import pytest

from mirror.cache import project_page
from mirror.cache.page_store import PageStore
from mirror.settings import SIMPLE_JSON

SHA = "ab" * 32


def make_page(*versions: str) -> project_page.ProjectPage:
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
    return project_page.parse_page(
        body, content_type=SIMPLE_JSON, url="https://h.example/", project="lib"
    )


@pytest.fixture
def shelf(tmp_path: Path) -> PageStore:
    made = PageStore(tmp_path)
    made.prepare_for("https://h.example/simple/")
    return made


def test_a_page_is_held_published_and_withdrawn(shelf: PageStore, tmp_path: Path) -> None:
    assert shelf.find_page("lib") is None
    shelf.save_page("lib", make_page("1"), '"tag"')
    held = shelf.find_page("lib")
    assert held is not None
    assert held.etag == '"tag"'
    assert abs(held.checked_at - time.time()) < 60
    fresh = tmp_path / "fresh/lib.json"
    for _ in range(2):
        shelf.publish("lib", "json")
    assert fresh.samefile(shelf.page_path("lib", "json"))
    shelf.save_page("lib", make_page("1", "2"), "")
    assert not fresh.exists()
    assert list((tmp_path / "partial").iterdir()) == []


def test_where_a_file_comes_from(shelf: PageStore) -> None:
    shelf.save_page("lib", make_page("1", "2"), "")
    wanted = shelf.find_source("lib", SHA, "lib-2.tar.gz")
    assert wanted is not None
    assert (wanted.url, wanted.sha256) == ("https://h.example/lib-2.tar.gz", SHA)
    metadata = shelf.find_source("lib", SHA, "lib-2.tar.gz.metadata")
    assert metadata is not None
    assert (metadata.url, metadata.sha256) == ("https://h.example/lib-2.tar.gz.metadata", "cd" * 32)
    assert shelf.find_source("lib", SHA, "lib-1.tar.gz.metadata") is None
    assert shelf.find_source("lib", SHA, "lib-3.tar.gz") is None
    assert shelf.find_source("other", SHA, "lib-1.tar.gz") is None


def test_a_full_volume_leaves_the_page_that_was_there(
    shelf: PageStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shelf.save_page("lib", make_page("1"), "first")
    write, left = Path.write_bytes, [2]

    def full(self: Path, content: bytes) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return write(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        shelf.save_page("lib", make_page("1", "2"), "second")
    held = shelf.find_page("lib")
    assert held is not None
    assert held.etag == "first"
    assert len(json.loads(shelf.page_path("lib", "json").read_bytes())["files"]) == 1
    assert list((tmp_path / "partial").iterdir()) == []


def test_a_torn_page_is_not_held(shelf: PageStore) -> None:
    """As after a power cut."""
    shelf.save_page("lib", make_page("1"), "")
    os.truncate(shelf.page_path("lib", "json"), 10)
    assert shelf.find_page("lib") is None


def test_another_upstream_has_other_pages_and_the_same_files(
    shelf: PageStore, tmp_path: Path
) -> None:
    shelf.save_page("lib", make_page("1"), "")
    shelf.publish("lib", "json")
    partial = shelf.new_partial_path()
    partial.write_bytes(b"content")
    shelf.commit_file(partial, shelf.file_path("lib", SHA, "lib-1.tar.gz"), SHA)
    again = PageStore(tmp_path)
    again.prepare_for("https://h.example/simple/")
    assert again.find_page("lib") is not None
    assert list((tmp_path / "fresh").iterdir()) == []
    again.prepare_for("https://other.example/simple/")
    assert again.find_page("lib") is None
    assert again.file_path("lib", SHA, "lib-1.tar.gz").read_bytes() == b"content"
    assert again.count_contents() == {"pages": 0, "files": 1, "bytes": 7}
