"""devpi-server with a plugin that marks private project names for nginx.

``python3 -m mirror.private_names --marks FOLDER …devpi-server's own options…``. A marker is an
empty file named like the project: nginx sends requests for marked names to devpi. The marker exists
before devpi answers an upload or a registration, so it already applies to the next request. Each
start adds the markers that are missing. Only a successful ``DELETE /workloads/stable/NAME`` removes
one, and only that name's: a restart, a lost or replaced database and the deletion of another
project leave every name private.

It also refuses uploads and registrations under a name that is not a project name: devpi would store
some of them and then fail, and the file system cannot take others as markers. Pages of private
projects get the keys of PEP 700 (size, upload time), so that ``uv --exclude-newer`` finds them.

The database is repaired before the start: after a kill the kubelet restarts this container, but
not the init container.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from packaging.utils import canonicalize_name
from packaging.version import Version
from pluggy import HookimplMarker

from mirror.core.errors import InputError, UnfitError, format_error
from mirror.settings import SIMPLE_JSON, WORKLOADS_INDEX, normalize_project_name
from mirror.store.database import repair_database
from mirror.wheels import parse_version

_hook = HookimplMarker("devpiserver")
_App = Callable[..., Iterable[bytes]]  # WSGI
_PAGE_PATH = re.compile(rf"/+{WORKLOADS_INDEX}/\+simple/[^/]+/?")
_BODY_HEADERS = {"content-length", "etag"}
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]{0,99}")
_FILENAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.!+-]{0,199}")  # leaves room for devpi's suffix


class PrivateNamesPlugin:
    """The plugin for devpi's plugin manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)

    @_hook
    def devpiserver_cmdline_run(self, xom: Any) -> None:
        """Add missing markers and wrap the application; devpi calls this before it listens."""
        self.add_markers(_list_projects(xom))
        create_app = xom.create_app
        xom.create_app = lambda: self.wrap_app(create_app(), xom)

    def wrap_app(self, app: _App, xom: Any) -> _App:
        """Update markers before a change is answered; a tween would run before its commit."""

        def wrapper(environ: Mapping[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            if environ["REQUEST_METHOD"] in {"GET", "HEAD"}:
                if _PAGE_PATH.fullmatch(str(environ.get("PATH_INFO", ""))):
                    return _add_page_details(app, environ, start, xom)
                return app(environ, start)
            responses: list[tuple[Any, ...]] = []
            body = app(environ, lambda *arguments: responses.append(arguments))
            if responses[-1][0][:1] == "2":
                names = _list_projects(xom)
                self.add_markers(names)
                released = find_released_project(environ)
                if released is not None and released not in names:
                    self.remove_marker(released)
            start(*responses[-1])
            return body

        return wrapper

    def add_markers(self, names: Iterable[str]) -> None:
        """Mark these projects as private; existing markers stay."""
        with self._lock:
            existing = {path.name for path in self._folder.iterdir()}
            for name in sorted(set(names) - existing):
                try:
                    (self._folder / name).touch(0o644)
                except (OSError, ValueError) as error:  # of an older version, which took any name
                    print(f"not a name that can be private: {name[:80]!r}: {error}", flush=True)

    def remove_marker(self, name: str) -> None:
        """Remove the marker of one project: public packages of that name are served again."""
        with self._lock:
            (self._folder / name).unlink(missing_ok=True)


def _list_projects(xom: Any) -> frozenset[str]:
    """Return the normalized names of the projects in the private index."""
    with xom.keyfs.read_transaction(allow_reuse=True):
        stage = xom.model.getstage(WORKLOADS_INDEX)
        return frozenset(stage.list_projects_perstage()) if stage else frozenset()


def find_released_project(environ: Mapping[str, Any]) -> str | None:
    """Return the normalized name of the project that a WSGI request deletes as a whole, or None."""
    if environ["REQUEST_METHOD"] != "DELETE":
        return None
    index, _, name = str(environ.get("PATH_INFO", "")).strip("/").rpartition("/")
    return str(canonicalize_name(name)) if index == WORKLOADS_INDEX and name else None


def _refuse_unusable_names() -> None:
    """Make devpi refuse uploads whose name, version or filename it or the file system cannot take.

    After devpi's own check of the permission: only then is the form read.
    """
    from devpi_server.views import PyPIView, abort_submit

    submit = PyPIView.submit

    def submit_if_usable(view: Any) -> Any:
        if view.request.has_permission("upload"):
            reason = find_unusable_field(view.request.POST)
            if reason:
                abort_submit(view.request, 400, reason)
        return submit(view)

    PyPIView.submit = submit_if_usable


def find_unusable_field(form: Mapping[str, Any]) -> str:
    """Return why an upload or registration is refused; empty if it is not."""
    name, version = str(form.get("name", "")), str(form.get("version", ""))
    try:
        normalize_project_name(name)
    except InputError as error:
        return f"{error.what}: {error.why}"
    if version and not _VERSION.fullmatch(version):
        return f"not a version: {version[:80]!r}"
    filename = str(getattr(form.get("content"), "filename", "") or "x")
    if not _FILENAME.fullmatch(filename):
        return f"not a usable filename: {filename[:80]!r}"
    return ""


def _add_page_details(
    app: _App, environ: Mapping[str, Any], start: Callable[..., Any], xom: Any
) -> Iterable[bytes]:
    """Answer a request for a project page; its JSON form gets sizes and upload times."""
    responses: list[tuple[Any, ...]] = []
    body = app(environ, lambda *arguments: responses.append(arguments))
    status, headers, *rest = responses[-1]
    content_type = next((value for key, value in headers if key.lower() == "content-type"), "")
    if status[:3] != "200" or not content_type.startswith(SIMPLE_JSON):
        start(*responses[-1])
        return body
    try:
        content = b"".join(body)
    finally:
        getattr(body, "close", lambda: None)()
    document = json.loads(content)
    with xom.keyfs.read_transaction(allow_reuse=True):
        add_details(document, lambda path: _find_details(xom, path))
    content = json.dumps(document).encode()
    headers = [(key, value) for key, value in headers if key.lower() not in _BODY_HEADERS]
    start(status, [*headers, ("Content-Length", str(len(content)))], *rest)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [content]


def add_details(
    document: dict[str, Any], find_details: Callable[[str], tuple[int, datetime] | None]
) -> None:
    """Add the keys of PEP 700 to a page (PEP 691). ``find_details`` gets the path of a file."""
    complete = True
    for file in document["files"]:
        position = str(file["url"]).find("+f/")
        path = unquote(str(file["url"])[position:].partition("#")[0])
        details = find_details(f"{WORKLOADS_INDEX}/{path}") if position >= 0 else None
        if details is None:
            complete = False
            continue
        size, uploaded = details
        file["size"] = size
        file["upload-time"] = uploaded.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    versions = {
        str(version)
        for file in document["files"]
        if (version := parse_version(file["filename"], document["name"])) is not None
    }
    if complete:
        document["meta"]["api-version"] = "1.1"
        document["versions"] = sorted(versions, key=Version)


def _find_details(xom: Any, path: str) -> tuple[int, datetime] | None:
    """Return the size and the upload time of a file of devpi; None if it is missing."""
    entry = xom.filestore.get_file_entry(path)
    if entry is None or not entry.file_exists():
        return None
    uploaded = parsedate_to_datetime(entry.last_modified).astimezone(UTC)
    return int(entry.file_size()), uploaded


def _skip_unchanged_nodeinfo() -> None:
    """Keep devpi from rewriting an unchanged file at each start: a full volume would stop it."""
    from devpi_server.config import Config

    write_nodeinfo = Config.write_nodeinfo

    def write_if_changed(config: Any) -> None:
        path, text = config.nodeinfo_path, json.dumps(config.nodeinfo, indent=2)
        if not path.is_file() or path.read_text() != text:
            write_nodeinfo(config)

    Config.write_nodeinfo = write_if_changed


def main(argv: list[str]) -> int:
    """Repair the database, then run devpi-server's own main function with the plugin."""
    from devpi_server.config import get_pluginmanager
    from devpi_server.main import CommandRunner, _main

    try:
        serverdir = Path(argv[argv.index("--serverdir") + 1])
        repair_database(serverdir, lambda line: print(line, flush=True))
    except UnfitError as error:
        print(format_error(error), flush=True)
        return error.exit_code
    _skip_unchanged_nodeinfo()
    _refuse_unusable_names()
    position = argv.index("--marks")
    plugins = get_pluginmanager()
    plugins.register(PrivateNamesPlugin(Path(argv[position + 1])))
    with CommandRunner(pluginmanager=plugins) as runner:
        options = [*argv[:position], *argv[position + 2 :]]
        runner.return_code = _main(runner.pluginmanager, argv=["devpi-server", *options])
    return int(runner.return_code or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
