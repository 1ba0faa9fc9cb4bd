"""devpi-server with a plugin that marks private project names for nginx.

``python3 -m mirror.private_names --marks FOLDER …devpi-server's own options…``. A marker is an
empty file named like the project: nginx sends requests for marked names to devpi. The marker exists
before devpi answers an upload or a registration, so it already applies to the next request. Each
start adds the markers that are missing. Only a successful ``DELETE /workloads/stable/NAME`` removes
one, and only that name's: a restart, a lost or replaced database and the deletion of another
project leave every name private.

The database is repaired before the start: after a kill the kubelet restarts this container, but
not the init container.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from pluggy import HookimplMarker

from mirror.core.errors import UnfitError, format_error
from mirror.settings import WORKLOADS_INDEX
from mirror.store.database import repair_database

_hook = HookimplMarker("devpiserver")
_App = Callable[..., Iterable[bytes]]  # WSGI


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
            for name in set(names) - existing:
                (self._folder / name).touch(0o644)

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
    position = argv.index("--marks")
    plugins = get_pluginmanager()
    plugins.register(PrivateNamesPlugin(Path(argv[position + 1])))
    with CommandRunner(pluginmanager=plugins) as runner:
        options = [*argv[:position], *argv[position + 2 :]]
        runner.return_code = _main(runner.pluginmanager, argv=["devpi-server", *options])
    return int(runner.return_code or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
