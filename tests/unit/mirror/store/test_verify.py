"""Find and repair stored files that were corrupted, emptied or removed."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from devpi_server.fileutil import dumps

from mirror.store.verify import Flaw, VerifyReport, main, verify_files

UPLOAD = "workloads/stable/+f/abc/def/lib-1.tar.gz"


def add_cached_file(data: Path, project: str, content: bytes) -> Path:
    digest = hashlib.sha256(content).hexdigest()
    path = data / f"public/files/{project}/{digest}/{project}-1.0.tar.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Create 100 cached files, a page, a file without an upstream hash, and an upload."""
    for number in range(100):
        add_cached_file(tmp_path, f"p{number}", random.Random(number).randbytes(20_000 + number))
    for name in ("pages/p1.json", "links/p1", "fresh/p1.json"):
        (tmp_path / "public" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "public" / name).write_text('{"files": []}')
    (tmp_path / "public/pages/p1.json.gz").write_bytes(gzip.compress(b'{"files": []}'))
    unhashed = tmp_path / "public/files/odd/url-0123/odd-1.0.tar.gz"
    unhashed.parent.mkdir(parents=True)
    unhashed.write_bytes(b"odd")
    unhashed.with_name("odd-1.0.tar.gz.sha256").write_text(hashlib.sha256(b"odd").hexdigest())
    upload = tmp_path / "devpi/+files" / UPLOAD
    upload.parent.mkdir(parents=True)
    upload.write_bytes(b"upload")
    value = {"hash_spec": f"sha256={hashlib.sha256(b'upload').hexdigest()}", "last_modified": "now"}
    never_fetched = "workloads/stable/+f/aaa/bbb/never-1.tar.gz"
    with closing(sqlite3.connect(tmp_path / "devpi/.sqlite")) as database, database:
        database.execute("CREATE TABLE changelog (serial INTEGER PRIMARY KEY, data BLOB)")
        database.execute("CREATE TABLE kv (key TEXT, keyname TEXT, serial INTEGER)")
        changes = {
            UPLOAD: ("STAGEFILE", -1, value),
            never_fetched: ("STAGEFILE", -1, {**value, "last_modified": None}),
        }
        database.execute("INSERT INTO changelog VALUES (1, ?)", (dumps((changes, [])),))
        database.executemany(
            "INSERT INTO kv VALUES (?, 'STAGEFILE', 1)", [(key,) for key in changes]
        )
    return tmp_path


def cached_files(data: Path) -> list[Path]:
    return sorted(data.glob("public/files/p*/*/*"))


def count_states(report: VerifyReport) -> dict[str, int]:
    counted: dict[str, int] = {}
    for flaw in report.flaws:
        counted[flaw.state] = counted.get(flaw.state, 0) + 1
    return counted


def test_finds_nothing_wrong_in_intact_data(data: Path) -> None:
    report = verify_files(data)
    assert (report.files, report.unknown, report.flaws) == (103, 0, ())
    assert report.is_sound
    assert report.size > 2_000_000


def test_finds_and_repairs_every_flaw(data: Path) -> None:
    corrupted, emptied, deleted = (
        cached_files(data)[:10],
        cached_files(data)[10:20],
        cached_files(data)[20:30],
    )
    for path in corrupted:  # one bit; the size stays the same
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    for path in emptied:
        path.write_bytes(b"")
    for path in deleted:
        path.unlink()
    (data / "public/pages/p1.json").write_text('{"files": [')
    report = verify_files(data)
    assert count_states(report) == {"corrupt": 11, "empty": 10, "missing": 10}
    assert not report.is_sound
    assert verify_files(data).flaws == report.flaws, "without repair nothing changes"
    repaired = verify_files(data, repair=True)
    assert repaired.is_sound
    assert {flaw.outcome for flaw in repaired.flaws} == {"removed"}
    assert verify_files(data).flaws == ()
    assert len(cached_files(data)) == 70


@pytest.mark.parametrize("content", ['{"files": [', '{"files": [{}]}'])
def test_removes_a_corrupt_page_with_its_copies_and_links(data: Path, content: str) -> None:
    """The second text is valid JSON, but differs from its .gz copy."""
    (data / "public/pages/p1.json").write_text(content)
    assert count_states(verify_files(data, repair=True)) == {"corrupt": 1}
    folders = ("pages", "links", "fresh")
    assert [path for name in folders for path in (data / "public" / name).iterdir()] == []
    assert verify_files(data).flaws == ()


def test_checks_core_metadata_against_the_hash_on_the_page(data: Path) -> None:
    path = cached_files(data)[0]
    metadata = path.with_name(path.name + ".metadata")
    metadata.write_text("Name: x\n")
    digest = hashlib.sha256(b"Name: x\n").hexdigest()
    links = data / "public/links" / path.parts[-3]
    links.write_text(f"{{}}\n{path.parts[-2]} {path.name} https://files.example/x {digest}\n")
    assert verify_files(data).flaws == ()
    metadata.write_text("Name: y\n")
    assert count_states(verify_files(data, repair=True)) == {"corrupt": 1}
    assert path.exists()
    assert not metadata.exists()


def test_sets_aside_a_corrupt_upload(data: Path) -> None:
    path = data / "devpi/+files" / UPLOAD
    path.write_bytes(b"uploaD")
    report = verify_files(data, repair=True)
    (flaw,) = report.flaws
    assert (flaw.private, flaw.state, flaw.outcome) == (True, "corrupt", "set aside")
    assert not report.is_sound
    assert "mirror add lib-1.tar.gz" in flaw.next_step
    assert not path.exists()
    assert (data / "damaged/devpi/+files" / UPLOAD).read_bytes() == b"uploaD"
    shutil.rmtree(path.parent)  # devpi's database still lists it
    (lost,) = verify_files(data, repair=True).flaws
    assert (lost.state, lost.outcome) == ("missing", "lost")


def test_checks_a_file_without_a_published_hash_against_the_measured_one(data: Path) -> None:
    path = data / "public/files/odd/url-0123/odd-1.0.tar.gz"
    path.write_bytes(b"oDd")
    assert count_states(verify_files(data, repair=True)) == {"corrupt": 1}
    assert not path.parent.exists(), "the measured hash is removed too"
    assert verify_files(data).flaws == ()


def test_counts_files_without_any_hash_as_unknown(data: Path) -> None:
    (data / "public/files/odd/url-0123/odd-1.0.tar.gz.sha256").unlink()
    assert verify_files(data).unknown == 1


class RefetchingIndex(BaseHTTPRequestHandler):
    """Restore a file on the volume when it is requested, as the mirror does."""

    data: Path
    content: dict[str, bytes]

    def do_GET(self) -> None:
        _, _, rest = self.path.partition("/+f/")
        body = self.content[rest.rpartition("/")[2]]
        path = self.data / "public/files" / rest
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def index(data: Path) -> Iterator[str]:
    content = {path.name: path.read_bytes() for path in cached_files(data)}
    handler = type("Bound", (RefetchingIndex,), {"data": data, "content": content})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_fetches_removed_files_again(data: Path, index: str) -> None:
    path = cached_files(data)[0]
    content = path.read_bytes()
    path.write_bytes(b"corrupted")
    (flaw,) = verify_files(data, repair=True, root=index).flaws
    assert flaw.outcome == "fetched again"
    assert path.read_bytes() == content


def test_only_removes_files_if_the_mirror_does_not_respond(data: Path) -> None:
    cached_files(data)[0].write_bytes(b"corrupted")
    (flaw,) = verify_files(data, repair=True, root="http://127.0.0.1:9").flaws
    assert flaw.outcome == "removed"


def test_prints_progress_and_report_as_json_lines(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cached_files(data)[0].unlink()
    monkeypatch.setattr("sys.argv", ["verify", "--data", str(data)])
    assert main() == 0
    *progress, last = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert progress[0]["total"] == 103
    report = last["report"]
    assert [Flaw(**flaw).state for flaw in report.pop("flaws")] == ["missing"]
    assert report["files"] == 103
