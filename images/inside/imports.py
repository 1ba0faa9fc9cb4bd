"""Import the modules of an application, from its working folder. Print a JSON line for each.

usage: imports.py OPTIONS     a JSON object: {"packages", "starts", "folders", "seconds", "limit"}

{"module", "state": "begins"}                               before each import, which may not return
{"module", "state": "ends", "chain", "hosts", "file"}       "chain" is empty if it was imported
{"state": "plan", "tests", "reached", "left", "starts"}      at the end
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import pkgutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_THREAD_SECONDS = 1.0


class ImportStillRunning(BaseException):
    """An import has taken as long as it may."""


class Importer:
    """Imports modules and prints what happens."""

    def __init__(self, seconds: float, limit: float, modules: Any, raised: Any) -> None:
        # keep the output of modules apart from the result
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._modules, self._raised = modules, raised
        self._seconds = seconds
        self._deadline = time.monotonic() + limit
        self._local = {"", "localhost", "0.0.0.0", "::", "::1", socket.gethostname()}
        self._hosts: list[str] = []
        self.tried: set[str] = set()
        self.tests: list[str] = []
        self.left: list[str] = []  # not tried, because the time was over
        sys.addaudithook(self._hook)
        signal.signal(signal.SIGALRM, self._interrupt)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("socket.getaddrinfo", "socket.gethostbyname"):
            host = arguments[0]
        elif event == "socket.connect" and isinstance(arguments[1], tuple):
            if getattr(arguments[0], "type", None) == socket.SOCK_DGRAM:
                return  # sends nothing: programs do so to learn their own address
            host = arguments[1][0]
        else:
            return
        text = host.decode(errors="replace") if isinstance(host, bytes) else str(host or "")
        is_local = text in self._local or text.startswith("127.")
        if not is_local and text not in self._hosts:
            self._hosts.append(text)

    def _interrupt(self, *_: object) -> None:
        raise ImportStillRunning(f"still running after {self._seconds:.0f} s")

    def print(self, **event: object) -> None:
        print(json.dumps(event), file=self._out, flush=True)

    def run(self, name: str, action: Any) -> None:
        """Run an action as the import of a module."""
        self.print(module=name, state="begins")
        self._hosts = []
        chain: list[object] = []
        signal.setitimer(signal.ITIMER_REAL, self._seconds)
        try:
            action()
        except BaseException as failure:  # noqa: BLE001 - SystemExit too
            chain = self._raised.describe_chain(failure)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None) or ""
        self.print(module=name, state="ends", chain=chain, hosts=list(self._hosts), file=file)

    def load(self, name: str) -> None:
        if name in self.tried:
            return
        self.tried.add(name)
        if time.monotonic() > self._deadline:
            self.left.append(name)
        else:
            self.run(name, lambda: importlib.import_module(name))

    def load_package(self, name: str, *, asked_for: bool = False) -> None:
        """Import a package and every module in it, without its tests."""
        if self._modules.is_test(name) and not asked_for:
            self.tests.append(name)
            return
        self.load(name)
        for info in pkgutil.iter_modules(self._find_paths(name)):
            inner = f"{name}.{info.name}"
            path = os.path.join(getattr(info.module_finder, "path", ""), f"{info.name}.py")
            if info.name == "__main__" or self._modules.is_environment_of_alembic(path):
                continue
            if self._modules.is_test(info.name):
                self.tests.append(inner)
            elif info.ispkg:
                self.load_package(inner)
            else:
                self.load(inner)

    def _find_paths(self, name: str) -> list[str]:
        """Return the folders of a package; also if it does not import."""
        module = sys.modules.get(name)
        if module is not None:
            return list(getattr(module, "__path__", ()))
        parent, _, last = name.rpartition(".")
        if not parent:
            spec = importlib.util.find_spec(name)
            return list(spec.submodule_search_locations or ()) if spec else []
        inner = [os.path.join(path, last) for path in self._find_paths(parent)]
        return [path for path in inner if os.path.isdir(path)]

    def close(self) -> None:
        """Give threads that an import has started a moment to call what they call."""
        deadline = time.monotonic() + _THREAD_SECONDS
        for thread in threading.enumerate():
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        self._out.flush()


def find_roots(folder: Path, folders: list[str], environment: Path) -> Iterator[Path]:
    """Yield the folders of sys.path that hold files of the project."""
    known = [folder, *map(Path, folders)]
    for text in sys.path:
        path = Path(text or folder).resolve()
        if environment in (path, *path.parents) or "pypi-mirror" in path.parts:
            continue
        if any(root in (path, *path.parents) for root in known):
            yield path


def main() -> None:
    # copies that the proof puts on PYTHONPATH: nothing else of this package is in the image
    modules: Any = importlib.import_module("pypi_mirror_modules")
    raised: Any = importlib.import_module("pypi_mirror_raised")
    options = json.loads(sys.argv[1])
    sys.argv = [sys.argv[0]]
    folder = Path.cwd()
    entries = [modules.read_entry(argv, folder) for argv in options["starts"]]
    own = [str(path) for entry in entries for path in entry.folders]
    # the first entry was the folder of this program
    sys.path[:1] = list(dict.fromkeys([*own, str(folder)]))
    project = modules.Project(list(find_roots(folder, options["folders"], Path(sys.prefix))))
    named = [name for entry in entries for name in entry.modules]
    scripts = [path for entry in entries for path in entry.scripts]
    reached = project.reach(named, scripts)
    importer = Importer(options["seconds"], options["limit"], modules, raised)
    settings = os.environ.get("DJANGO_SETTINGS_MODULE") or project.find_django_settings()
    if settings and importlib.util.find_spec("django"):
        os.environ["DJANGO_SETTINGS_MODULE"] = settings
        importer.run("django.setup()", lambda: importlib.import_module("django").setup())
    if options["packages"]:
        for package in options["packages"]:
            importer.load_package(package, asked_for=True)
    else:
        for package in project.list_packages():
            importer.load_package(package)
        for name in reached:
            # a module that runs with -m is a script: what it imports is enough
            is_script = name in named and not any(f"{name}:" in word for word in _words(options))
            if not is_script and not modules.is_test(name) and not name.endswith("__main__"):
                importer.load(name)
    importer.print(
        state="plan",
        tests=importer.tests,
        reached=reached,
        left=importer.left,
        starts=[name for name in named if project.find_file(name)] + [str(p) for p in scripts],
    )
    importer.close()
    os._exit(0)  # do not wait longer for threads that an import has started


def _words(options: dict[str, Any]) -> list[str]:
    return [word for argv in options["starts"] for word in argv]


if __name__ == "__main__":
    main()
