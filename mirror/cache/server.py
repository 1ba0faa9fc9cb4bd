"""What nginx asks: HTTP on loopback, a thread a connection.

Whole pages and files are answered by X-Accel-Redirect: nginx sends them from the volume.
"""

from __future__ import annotations

import json
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote

from mirror.cache.errors import NotFoundError, UnavailableError
from mirror.cache.file_cache import WHOLE_FILE_WAIT, Download, FileCache
from mirror.cache.names import (
    METADATA_SUFFIX,
    is_distribution_filename,
    is_file_folder,
    is_normalized,
    normalize,
)
from mirror.cache.page_cache import PageCache
from mirror.cache.page_store import PageStore
from mirror.cache.project_page import FILES_PATH, JSON_TYPE
from mirror.cache.scrubber import Scrubber
from mirror.cache.upstream import READ_TIMEOUT, UpstreamClient

_TYPES = {"json": JSON_TYPE, "html": "text/html; charset=utf-8"}
_AGAIN = 5  # seconds after which a client may ask again


class CacheService:
    """The parts that answer, put together."""

    def __init__(self, root: Path, upstream: UpstreamClient, scrub: Scrubber) -> None:
        self.store = PageStore(root)
        self.scrubber = scrub
        self.upstream = upstream
        self.store.prepare_for(upstream.url)
        self.pages = PageCache(self.store, upstream)
        self.files = FileCache(self.store, upstream, self.pages)

    def status(self) -> dict[str, object]:
        """What is there and how the upstream is."""
        pages, files, upstream = self.pages.counters, self.files.counters, self.upstream
        scrub = self.scrubber
        return {
            "upstream": {
                "url": upstream.url,
                "state": "away" if upstream.error else "ok",
                "since": upstream.state_since,
                "error": upstream.error,
            },
            **self.store.count_contents(),
            "asked": {"pages": pages.requests, "files": files.requests},
            "fetched": {
                "pages": pages.fetched,
                "files": files.fetched,
                "bytes": files.fetched_bytes,
            },
            "volume": self.store.measure_volume(),
            "scrub": {
                "ended": scrub.last_ended,
                "mended": scrub.repaired,
                "lost": scrub.lost_uploads(),
            },
        }


class CacheServer(ThreadingHTTPServer):
    """Listens on loopback; connections that nginx keeps hold a thread each."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, port: int, public: CacheService) -> None:
        self.service = public
        super().__init__(("127.0.0.1", port), _CacheRequestHandler)


class _CacheRequestHandler(BaseHTTPRequestHandler):
    server: CacheServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 120.0
    wbufsize = -1  # one write an answer

    def parse_request(self) -> bool:
        """Refuse a request that announces a body, or headers that cannot be read, and hang up.

        No request here has a body. Its bytes would be read as the next request of the connection.
        """
        if not super().parse_request():
            return False
        names = {name.strip().lower() for name in self.headers}
        if names & {"content-length", "transfer-encoding"} or self.headers.defects:
            self.close_connection = True
            self.send_error(HTTPStatus.BAD_REQUEST, "no request body is accepted here")
            return False
        return True

    def do_GET(self) -> None:
        # pip writes the + of our links as %2B
        parts = unquote(self.path.partition("?")[0]).strip("/").split("/")
        try:
            if parts == ["healthz"]:
                self._say(HTTPStatus.OK, "ok")
            elif parts == ["+mirror", "status"]:
                body = json.dumps(self.server.service.status()).encode()
                self._answer(HTTPStatus.OK, "application/json", body)
            elif len(parts) == 4 and parts[2] == "+simple":
                self._page(parts[3])
            elif len(parts) == 6 and "/".join(parts[:3]) == FILES_PATH:
                self._file(parts[3], parts[4], parts[5])
            else:
                self._say(HTTPStatus.NOT_FOUND, "no such page")
        except NotFoundError as told:
            self._say(HTTPStatus.NOT_FOUND, str(told))
        except UnavailableError as told:
            self.log_error("%s: %s", self.path, told)
            self._say(HTTPStatus(told.status), f"{told}\n", again=True)

    do_HEAD = do_GET

    def _page(self, name: str) -> None:
        project = normalize(name)
        if not is_normalized(project):
            raise NotFoundError("no project can have this name")
        if project != name or not self.path.partition("?")[0].endswith("/"):
            slash = self.path.partition("?")[0].endswith("/")
            self.send_response(HTTPStatus.MOVED_PERMANENTLY)
            self.send_header("Location", f"{'../' if slash else ''}{project}/")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        kind = "json" if JSON_TYPE in self.headers.get("Accept", "") else "html"
        found = self.server.service.pages.get(project, kind)
        if isinstance(found, bytes):
            self._answer(HTTPStatus.OK, _TYPES[kind], found)
        else:
            self._held(found)

    def _file(self, project: str, folder: str, filename: str) -> None:
        if not (
            is_normalized(project)
            and is_file_folder(folder)
            and is_distribution_filename(filename.removesuffix(METADATA_SUFFIX))
        ):
            raise NotFoundError("no file can have this name")
        found = self.server.service.files.get(project, folder, filename)
        if isinstance(found, Download):
            if found.wait(WHOLE_FILE_WAIT):
                found = found.target
            else:
                self._stream(found)
                return
        self._held(found)

    def _stream(self, download: Download) -> None:
        """A file that is still under way. If it goes wrong its end never comes."""
        download.wait_for_start(READ_TIMEOUT + WHOLE_FILE_WAIT)
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("X-Accel-Buffering", "no")
        if download.length is None:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(download.length))
        self.end_headers()
        if self.command == "HEAD":
            return
        try:
            for block in download.iter_blocks():
                if download.length is None:
                    self.wfile.write(f"{len(block):x}\r\n".encode() + block + b"\r\n")
                else:
                    self.wfile.write(block)
                self.wfile.flush()
            if download.length is None:
                self.wfile.write(b"0\r\n\r\n")
        except (UnavailableError, NotFoundError) as told:
            self.log_error("%s: %s", self.path, told)
            self.close_connection = True
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _held(self, path: Path) -> None:
        """nginx sends it: /+held/ is our root, for it alone."""
        inside = path.relative_to(self.server.service.store.root).as_posix()
        self.send_response(HTTPStatus.OK)
        self.send_header("X-Accel-Redirect", f"/+held/{quote(inside)}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _say(self, status: HTTPStatus, text: str, *, again: bool = False) -> None:
        self._answer(status, "text/plain; charset=utf-8", text.encode(), again=again)

    def _answer(
        self, status: HTTPStatus, content_type: str, body: bytes, *, again: bool = False
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if again:
            self.send_header("Retry-After", str(_AGAIN))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Only what goes wrong is told."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        words = time.strftime("%H:%M:%S ") + format % args
        print(words.encode("ascii", "backslashreplace").decode(), flush=True)
