"""HTTP server of the cache, for nginx: on loopback, one thread per connection.

Responses with a complete page or file carry X-Accel-Redirect: nginx sends them from the volume.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote

from packaging.utils import canonicalize_name

from mirror.cache.errors import NotFoundError, UnavailableError
from mirror.cache.file_cache import WHOLE_FILE_WAIT, Download, FileCache
from mirror.cache.names import is_distribution_filename, is_file_folder, is_normalized
from mirror.cache.page_cache import PageCache
from mirror.cache.page_store import PageStore
from mirror.cache.project_page import FILES_PATH
from mirror.cache.scrubber import Scrubber
from mirror.cache.upstream import READ_TIMEOUT, UpstreamClient
from mirror.core.codec import dump
from mirror.settings import SIMPLE_JSON
from mirror.store.inventory import list_cached_projects
from mirror.volume import METADATA_SUFFIX

_CONTENT_TYPES = {"json": SIMPLE_JSON, "html": "text/html; charset=utf-8"}
_RETRY_LATER = {"Retry-After": "5"}  # seconds


class CacheService:
    """The parts of the cache, and their status."""

    def __init__(self, root: Path, upstream: UpstreamClient, scrubber: Scrubber) -> None:
        self.store = PageStore(root)
        self.scrubber = scrubber
        self.upstream = upstream
        self.store.prepare_for(upstream.url)
        self.pages = PageCache(self.store, upstream)
        self.files = FileCache(self.store, upstream, self.pages)

    def status(self) -> dict[str, object]:
        """Return the document of /+mirror/status; mirror/cache_status.py reads it."""
        pages, files, upstream = self.pages, self.files, self.upstream
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
                "ended": self.scrubber.last_ended,
                "mended": self.scrubber.repaired,
                "lost": self.scrubber.lost_uploads(),
            },
        }


class CacheServer(ThreadingHTTPServer):
    """Server on loopback; each connection that nginx keeps open occupies a thread."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, port: int, service: CacheService) -> None:
        self.service = service
        super().__init__(("127.0.0.1", port), _CacheRequestHandler)


class _CacheRequestHandler(BaseHTTPRequestHandler):
    server: CacheServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 120.0
    wbufsize = -1  # headers and body in one write

    def parse_request(self) -> bool:
        """Refuse bodies: their unread bytes would be taken for the connection's next request."""
        if not super().parse_request():
            return False
        names = {name.strip().lower() for name in self.headers}
        if names & {"content-length", "transfer-encoding"} or self.headers.defects:
            # send_error also closes the connection
            self.send_error(HTTPStatus.BAD_REQUEST, "no request body is accepted here")
            return False
        return True

    def do_GET(self) -> None:
        # pip sends the + of our links as %2B
        parts = unquote(self.path.partition("?")[0]).strip("/").split("/")
        try:
            if parts == ["healthz"]:
                self._send_text(HTTPStatus.OK, "ok")
            elif parts == ["+mirror", "status"]:
                body = json.dumps(self.server.service.status()).encode()
                self._send(HTTPStatus.OK, {"Content-Type": "application/json"}, body)
            elif parts == ["+mirror", "projects"]:
                projects = list_cached_projects(self.server.service.store.root)
                body = json.dumps(dump(projects)).encode()
                self._send(HTTPStatus.OK, {"Content-Type": "application/json"}, body)
            elif len(parts) == 4 and parts[2] == "+simple":
                self._send_page(parts[3])
            elif len(parts) == 6 and "/".join(parts[:3]) == FILES_PATH:
                self._send_file(parts[3], parts[4], parts[5])
            else:
                self._send_text(HTTPStatus.NOT_FOUND, "no such page")
        except NotFoundError as error:
            self._send_text(HTTPStatus.NOT_FOUND, str(error))
        except UnavailableError as error:
            self.log_error("%s: %s", self.path, error)
            self._send_text(HTTPStatus(error.status), f"{error}\n", **_RETRY_LATER)

    do_HEAD = do_GET

    def _send_page(self, name: str) -> None:
        project = canonicalize_name(name)
        if not is_normalized(project):
            raise NotFoundError("this is not a project name")
        has_slash = self.path.partition("?")[0].endswith("/")
        if project != name or not has_slash:
            location = f"{'../' if has_slash else ''}{project}/"
            self._send(HTTPStatus.MOVED_PERMANENTLY, {"Location": location})
            return
        kind = "json" if SIMPLE_JSON in self.headers.get("Accept", "") else "html"
        page = self.server.service.pages.get(project, kind)
        if isinstance(page, bytes):
            self._send(HTTPStatus.OK, {"Content-Type": _CONTENT_TYPES[kind]}, page)
        else:
            self._redirect_nginx(page)

    def _send_file(self, project: str, folder: str, filename: str) -> None:
        if not (
            is_normalized(project)
            and is_file_folder(folder)
            and is_distribution_filename(filename.removesuffix(METADATA_SUFFIX))
        ):
            raise NotFoundError("this is not the name of a file")
        file = self.server.service.files.get(project, folder, filename)
        if not isinstance(file, Download):
            self._redirect_nginx(file)
        elif file.wait(WHOLE_FILE_WAIT):
            self._redirect_nginx(file.target)
        else:
            self._stream(file)

    def _stream(self, download: Download) -> None:
        """Send a file while it downloads; on a failure, close the connection before its end."""
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
        except (UnavailableError, NotFoundError) as error:
            self.log_error("%s: %s", self.path, error)
            self.close_connection = True
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _redirect_nginx(self, path: Path) -> None:
        """Let nginx send a file of the volume; its internal location /+held/ is our root."""
        relative = path.relative_to(self.server.service.store.root).as_posix()
        self._send(HTTPStatus.OK, {"X-Accel-Redirect": f"/+held/{quote(relative)}"})

    def _send_text(self, status: HTTPStatus, text: str, **headers: str) -> None:
        self._send(status, {"Content-Type": "text/plain; charset=utf-8", **headers}, text.encode())

    def _send(self, status: HTTPStatus, headers: Mapping[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log errors only, not requests."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        message = time.strftime("%H:%M:%S ") + format % args
        print(message.encode("ascii", "backslashreplace").decode(), flush=True)
