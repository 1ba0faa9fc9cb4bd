"""devpi-server with our plugin: it marks the names that are private, for the front.

``python3 -m mirror.private_names --marks FOLDER …devpi-server's own options…``. A marker is an empty
file named like the project. It is there before an upload or a registration is answered, so the
very next request for the name is devpi's to answer. Each start adds the markers that are missing.
Only a successful ``DELETE /workloads/stable/NAME`` removes one, and only that name's: a restart, a
lost or replaced database and the deletion of another project leave every name private.
The database is mended before: after a kill the kubelet starts this container again, and not the
init container.
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

from mirror.core.errors import UnfitError
from mirror.settings import WORKLOADS_INDEX
from mirror.store.database import repair_database

_hook = HookimplMarker("devpiserver")
_App = Callable[..., Iterable[bytes]]  # WSGI


class PrivateNamesPlugin:
    """The plugin, as devpi's plugin manager takes it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)

    @_hook
    def devpiserver_cmdline_run(self, xom: Any) -> None:
        """Called before the server makes its application and listens."""
        self.add_markers(_projects(xom))
        make = xom.create_app
        xom.create_app = lambda: self.wrap_app(make(), xom)

    def wrap_app(self, app: _App, xom: Any) -> _App:
        """Wrap the application: the markers follow a change before it is answered.

        Round the whole application, since inside of it (a tween) the change is not committed yet.
        """

        def watched(environ: Mapping[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            if environ["REQUEST_METHOD"] in {"GET", "HEAD"}:
                return app(environ, start)
            responses: list[tuple[Any, ...]] = []
            body = app(environ, lambda *arguments: responses.append(arguments))
            if responses[-1][0][:1] == "2":
                names = _projects(xom)
                self.add_markers(names)
                released = find_released_project(environ)
                if released is not None and released not in names:
                    self.remove_marker(released)
            start(*responses[-1])
            return body

        return watched

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


def _projects(xom: Any) -> frozenset[str]:
    """Return the normalized names of the projects that the private index has now."""
    with xom.keyfs.read_transaction(allow_reuse=True):
        stage = xom.model.getstage(WORKLOADS_INDEX)
        return frozenset(stage.list_projects_perstage()) if stage else frozenset()


def find_released_project(environ: Mapping[str, Any]) -> str | None:
    """Return the normalized name of the project that a WSGI request deletes as a whole, or None."""
    if environ["REQUEST_METHOD"] != "DELETE":
        return None
    index, _, name = str(environ.get("PATH_INFO", "")).strip("/").rpartition("/")
    return str(canonicalize_name(name)) if index == WORKLOADS_INDEX and name else None


def _note_changes_only() -> None:
    """devpi writes a file about itself at each start; a full volume would not take it."""
    from devpi_server.config import Config

    write = Config.write_nodeinfo

    def changed_only(config: Any) -> None:
        held, told = config.nodeinfo_path, json.dumps(config.nodeinfo, indent=2)
        if not held.is_file() or held.read_text() != told:
            write(config)

    Config.write_nodeinfo = changed_only


def main(argv: list[str]) -> int:
    """devpi-server's own main, with the plugin."""
    from devpi_server.config import get_pluginmanager
    from devpi_server.main import CommandRunner, _main

    try:
        repair_database(
            Path(argv[argv.index("--serverdir") + 1]), lambda line: print(line, flush=True)
        )
    except UnfitError as error:
        print(f"error: {error.what}\n  why: {error.why}\n  next: {error.next_step}", flush=True)
        return error.exit_code
    _note_changes_only()
    at = argv.index("--marks")
    folder = Path(argv[at + 1])
    plugins = get_pluginmanager()
    plugins.register(PrivateNamesPlugin(folder))
    with CommandRunner(pluginmanager=plugins) as runner:
        rest = ["devpi-server", *argv[:at], *argv[at + 2 :]]
        runner.return_code = _main(runner.pluginmanager, argv=rest)
    return int(runner.return_code or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
