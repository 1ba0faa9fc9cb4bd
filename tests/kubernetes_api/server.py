"""The API over HTTP on loopback, and the files with which clients find it."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.cluster.kubeconfig import write_kubeconfig
from tests.kubernetes_api.access import User
from tests.kubernetes_api.errors import KilledError, bad_request
from tests.kubernetes_api.memory import MemoryApi, parse_body
from tests.kubernetes_api.requests import ApiRequest, ApiResponse
from tests.kubernetes_api.websocket import (
    PROTOCOL,
    ChannelStream,
    PodProgram,
    accept_key,
    forward_connection,
    run_program,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedApi:
    """An API that listens at ``url``."""

    api: MemoryApi
    url: str

    def write_kubeconfig(self, path: Path, user: User | None = None) -> Path:
        """Write a kubeconfig with one context, called memory; the admin's by default."""
        chosen = user or self.api.admin
        return write_kubeconfig(
            path, name="memory", server=self.url, user=chosen.name, token=chosen.token
        )

    def write_account(self, folder: Path, user: User | None = None) -> Path:
        """Write the token file that a pod has, for `InClusterClient(url, folder)`."""
        (folder / "token").write_text((user or self.api.admin).token)
        return folder


@contextmanager
def serve_api(api: MemoryApi) -> Iterator[ServedApi]:
    """Serve the API on a free port of 127.0.0.1 until the block ends."""
    server = _MemoryServer(("127.0.0.1", 0), _MemoryApiHandler)
    server.api = api
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    )
    thread.start()
    try:
        yield ServedApi(api=api, url=f"http://127.0.0.1:{server.server_address[1]}")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _MemoryServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # doctor opens dozens of connections at once
    api: MemoryApi

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing about a client that is gone, e.g. after Ctrl-C."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _MemoryApiHandler(BaseHTTPRequestHandler):
    """One connection. A killed client's connection closes without a response."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _MemoryServer

    def _respond(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        text = self.rfile.read(length) if length else b""
        content_type = (self.headers.get("Content-Type") or "application/json").partition(";")[0]
        url = urlsplit(self.path)
        query = parse_qsl(url.query, keep_blank_values=True)
        request = ApiRequest(
            method=self.command,
            path=url.path,
            query=dict(query),
            command=[value for name, value in query if name == "command"],
            content_type=content_type,
            token=(self.headers.get("Authorization") or "").removeprefix("Bearer "),
            user_agent=self.headers.get("User-Agent") or "",
        )
        try:
            request.body = parse_body(text, content_type)
        except ValueError as error:
            self._send(ApiResponse(400, bad_request(f"cannot be decoded: {error}").render()))
            return
        try:
            response = self.server.api.handle(request)
        except KilledError:
            self.close_connection = True
            return
        if response.status == 101:
            self._upgrade(request, response.body)
        else:
            self._send(response)

    def _upgrade(self, request: ApiRequest, target: PodProgram | tuple[str, int]) -> None:
        """Speak websocket from here on, with a program or a TCP server."""
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Protocol", PROTOCOL)
        key = accept_key(self.headers.get("Sec-WebSocket-Key") or "")
        self.send_header("Sec-WebSocket-Accept", key)
        self.end_headers()
        self.close_connection = True
        stream = ChannelStream(self.rfile, self.wfile)
        if isinstance(target, tuple):
            forward_connection(stream, target, int(request.query["ports"]))
        else:
            run_program(stream, target, request.command)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _respond

    def _send(self, response: ApiResponse) -> None:
        is_text = isinstance(response.body, str)
        data = response.body.encode() if is_text else json.dumps(response.body).encode()
        self.send_response(response.status)
        self.send_header("Content-Type", "text/plain" if is_text else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Log nothing: the API records its requests."""
