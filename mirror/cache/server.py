"""HTTP server of the cache, for nginx: on loopback, one event loop for all connections.

Responses with a complete page or file carry X-Accel-Redirect: nginx sends them from the volume.
"""

from __future__ import annotations

import asyncio
import math
import resource
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from urllib.parse import quote, unquote

from aiohttp import web
from packaging.utils import canonicalize_name

from mirror.cache.errors import NotFoundError, PolicyError, UnavailableError
from mirror.cache.explain import explain_project
from mirror.cache.file_cache import WHOLE_FILE_WAIT, Download
from mirror.cache.home_page import CONTENT_POLICY, render_home_page
from mirror.cache.metrics import CONTENT_TYPE, CacheMetrics
from mirror.cache.names import is_distribution_filename, is_file_folder, is_normalized
from mirror.cache.negotiation import choose_form
from mirror.cache.package_paths import PACKAGES_PATH, PackagePath
from mirror.cache.project_page import FILES_PATH, FOREIGN_FILES
from mirror.cache.service import CacheService
from mirror.cache.upstream import READ_TIMEOUT
from mirror.core.codec import dump
from mirror.settings import SIMPLE_JSON
from mirror.store.inventory import list_cached_projects
from mirror.upstreams import UPSTREAM_PATH
from mirror.volume import METADATA_SUFFIX

_CONTENT_TYPES = {"json": SIMPLE_JSON, "html": "text/html"}
_KEEPALIVE = 120.0  # seconds; nginx closes its idle connections after 60
_BACKLOG = 1024
_STOP_SECONDS = 2.0  # for responses that are being sent
_OPEN_FILES = 16384  # each download needs up to four

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class CacheServer:
    """Serves on loopback; ``port`` 0 takes a free one."""

    def __init__(self, service: CacheService, port: int) -> None:
        self.port = port
        self._service = service
        self._metrics = CacheMetrics(service)
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen; returns when requests are answered."""
        app = web.Application(middlewares=[_refuse_bodies, self._report_errors])
        app.router.add_get("/{path:.*}", self._respond)  # and HEAD
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handler_cancellation=True,
            keepalive_timeout=_KEEPALIVE,
            lingering_time=1.0,
            shutdown_timeout=_STOP_SECONDS,
        )
        await self._runner.setup()
        site = web.TCPSite(
            self._runner, "127.0.0.1", self.port, backlog=_BACKLOG, reuse_address=True
        )
        await site.start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop to listen; responses that are being sent have a moment to end."""
        if self._runner is not None:
            await self._runner.cleanup()
        for upstream in self._service.upstreams:
            await upstream.client.close()

    @web.middleware
    async def _report_errors(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except NotFoundError as error:
            return web.Response(status=404, text=str(error))
        except PolicyError as error:
            self._metrics.refusals.labels(error.rule).inc()
            return web.Response(status=403, text=f"{error}\n")
        except UnavailableError as error:
            _log(f"{request.raw_path}: {error}")
            headers = {"Retry-After": str(math.ceil(error.retry_after))}
            return web.Response(status=error.status, text=f"{error}\n", headers=headers)

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        # pip sends the + of our links as %2B
        path = request.raw_path.partition("?")[0]
        parts = unquote(path).strip("/").split("/")
        if parts == ["healthz"]:
            return web.Response(text="ok")
        if parts == [""]:
            return await self._send_home_page(request)
        if parts == ["+mirror", "status"]:
            self._service.status_requests += 1
            loop = asyncio.get_running_loop()
            status = await loop.run_in_executor(None, self._service.status)
            return web.json_response(status)
        if len(parts) == 3 and parts[:2] == ["+mirror", "explain"]:
            project = canonicalize_name(parts[2])
            if not is_normalized(project):
                raise NotFoundError("this is not a project name")
            return web.json_response(dump(await explain_project(self._service, project)))
        if parts == ["metrics"]:
            loop = asyncio.get_running_loop()
            metrics = await loop.run_in_executor(None, self._metrics.render)
            return web.Response(body=metrics, headers={"Content-Type": CONTENT_TYPE})
        if parts == ["+mirror", "projects"]:
            loop = asyncio.get_running_loop()
            root = self._service.root
            projects = await loop.run_in_executor(None, list_cached_projects, root)
            return web.json_response(dump(projects))
        base = self._service.base.name
        if len(parts) >= 4 and parts[0] == UPSTREAM_PATH:
            return await self._respond_for_upstream(request, parts[1], parts[2:])
        if len(parts) == 4 and parts[2] == "+simple":
            return await self._send_page(request, parts[3])
        if len(parts) == 6 and "/".join(parts[:3]) == FILES_PATH:
            return await self._send_file(request, base, *parts[3:])
        if len(parts) == 5 and parts[0] == PACKAGES_PATH:
            return await self._send_package(request, base, parts[1:])
        raise NotFoundError("no such page")

    async def _send_home_page(self, request: web.Request) -> web.StreamResponse:
        """Send the mirror's own page; nginx says under which name it was asked for."""
        service = self._service
        loop = asyncio.get_running_loop()
        status, projects = await loop.run_in_executor(None, service.describe)
        host = request.headers.get("X-Mirror-Host", "")
        page = render_home_page(
            root_url=f"http://{host}",
            status=status,
            projects=projects,
            query=request.query.get("q", ""),
        )
        headers = {
            "Cache-Control": "no-store",
            "Content-Security-Policy": CONTENT_POLICY,
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
        }
        body = page.encode("utf-8", "replace")
        return web.Response(body=body, content_type="text/html", charset="utf-8", headers=headers)

    async def _respond_for_upstream(
        self, request: web.Request, upstream: str, parts: list[str]
    ) -> web.StreamResponse:
        """Respond with a page or a file of one upstream, below /+upstream/NAME/."""
        if len(parts) == 2 and parts[0] == "+simple":
            return await self._send_page(request, parts[1], upstream)
        if len(parts) == 4 and parts[0] == FOREIGN_FILES:
            return await self._send_file(request, upstream, *parts[1:])
        if len(parts) == 5 and parts[0] == PACKAGES_PATH:
            return await self._send_package(request, upstream, parts[1:])
        raise NotFoundError("no such page")

    async def _send_page(
        self, request: web.Request, name: str, upstream: str = ""
    ) -> web.StreamResponse:
        """Send a project's page; with ``upstream``, that of one upstream, to this client only."""
        has_slash = request.raw_path.partition("?")[0].endswith("/")
        project = canonicalize_name(name)
        if not is_normalized(project):
            raise NotFoundError("this is not a project name")
        if project != name or not has_slash:
            location = f"{'../' if has_slash else ''}{project}/"
            return web.Response(status=301, headers={"Location": location})
        kind = choose_form(request.headers.get("Accept", ""))
        if upstream:
            pages = self._service.index.find(upstream, project).pages
            page = await pages.get(project, kind, publish=False)
        else:
            page = await self._service.index.get(project, kind)
        if isinstance(page, bytes):
            return web.Response(body=page, content_type=_CONTENT_TYPES[kind], charset="utf-8")
        return self._redirect_nginx(page)

    async def _send_file(
        self, request: web.Request, upstream: str, project: str, folder: str, filename: str
    ) -> web.StreamResponse:
        if not (
            is_normalized(project)
            and is_file_folder(folder)
            and is_distribution_filename(filename.removesuffix(METADATA_SUFFIX))
        ):
            raise NotFoundError("this is not the name of a file")
        files = self._service.index.find(upstream, project).files
        if self._service.index.policy is not None:
            self._service.index.policy.check_file(project, filename)
        return await self._send(request, await files.get(project, folder, filename))

    async def _send_package(
        self, request: web.Request, upstream: str, parts: list[str]
    ) -> web.StreamResponse:
        package = PackagePath.parse(parts)
        if package is None:
            raise NotFoundError("this is not the path of a file")
        files = self._service.index.find(upstream, "").files
        if self._service.index.policy is not None:
            self._service.index.policy.check_package(package.filename)
        return await self._send(request, files.get_package(package))

    async def _send(self, request: web.Request, file: Path | Download) -> web.StreamResponse:
        if not isinstance(file, Download):
            return self._redirect_nginx(file)
        if request.method != "HEAD" and await file.wait(WHOLE_FILE_WAIT):
            return self._redirect_nginx(file.target)
        await file.wait_for_start(READ_TIMEOUT + WHOLE_FILE_WAIT)
        return await self._stream(request, file)

    async def _stream(self, request: web.Request, download: Download) -> web.StreamResponse:
        """Send a file while it downloads; on a failure, close the connection before its end."""
        headers = {"Content-Type": "application/octet-stream", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        if download.length is None:
            response.enable_chunked_encoding()
        else:
            response.content_length = download.length
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        try:
            async for block in download.iter_blocks():
                await response.write(block)
            await response.write_eof()
        except (UnavailableError, NotFoundError) as error:
            _log(f"{request.raw_path}: {error}")
            _abort(request)
        except ConnectionError:
            _abort(request)
        return response

    def _redirect_nginx(self, path: Path) -> web.Response:
        """Let nginx send a file of the volume; its internal location /+held/ is our root."""
        relative = path.relative_to(self._service.root).as_posix()
        return web.Response(headers={"X-Accel-Redirect": f"/+held/{quote(relative)}"})


@web.middleware
async def _refuse_bodies(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Refuse requests with a body: none is needed, and its bytes must not become a request."""
    names: Mapping[str, str] = request.headers
    if "Content-Length" in names or "Transfer-Encoding" in names:
        response = web.Response(status=400, text="no request body is accepted here")
        response.force_close()
        return response
    return await handler(request)


def _abort(request: web.Request) -> None:
    """Close the connection at once, so that nobody takes the response for complete."""
    if request.transport is not None:
        request.transport.abort()


def raise_file_limit() -> None:
    """Raise the soft limit of open files for hundreds of downloads, up to the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _log(message: str) -> None:
    line = time.strftime("%H:%M:%S ") + message
    print(line.encode("ascii", "backslashreplace").decode(), flush=True)
