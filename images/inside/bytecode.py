"""Compile the modules of a folder to the same bytecode in every build.

usage: bytecode.py FOLDER [FINAL [GROUPS]]

Compile FOLDER; code objects name files as if it were at FINAL. GROUPS is a JSON file with the only
modules to compile: a list of lists of paths. Those of a list may share processes.

CPython writes equal sets of strings in a module once or several times, depending on the strings
that the process has seen before, and so on what it compiled before and in which order. Here every
module is compiled by a process that has compiled only other modules of its package, always in the
same order; the process is a fork of one that has compiled nothing. PYTHONHASHSEED must be constant
too.

Files that are not Python 3 are skipped silently, as pip and uv do.
"""

from __future__ import annotations

import gc
import json
import os
import py_compile
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

MODULES_PER_PROCESS = 200


def sorted_entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def find_modules(entry: os.DirEntry[str]) -> Iterator[str]:
    """Yield the modules that an entry is or has below it. Symbolic links are not followed."""
    if entry.is_dir(follow_symlinks=False):
        if entry.name != "__pycache__":
            for inner in sorted_entries(entry.path):
                yield from find_modules(inner)
    elif entry.name.endswith(".py") and entry.is_file(follow_symlinks=False):
        yield entry.path


def compile_modules(paths: list[str], folder: str, final: str) -> int:
    """Compile modules; return the exit code of the process."""
    try:
        for path in paths:
            with suppress(py_compile.PyCompileError):
                py_compile.compile(
                    path,
                    dfile=final + path.removeprefix(folder),
                    doraise=True,
                    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
                )
    except BaseException:  # noqa: BLE001 - a fork must not continue its parent's work
        traceback.print_exc()
        return 1
    return 0


def find_groups(folder: str) -> Iterator[list[str]]:
    """Yield the modules of each package of a folder."""
    for entry in sorted_entries(folder):
        yield list(find_modules(entry))


def compile_groups(groups: Iterable[list[str]], folder: str, final: str) -> None:
    warnings.simplefilter("ignore")
    gc.disable()  # every process is short-lived
    processors = len(os.sched_getaffinity(0))
    running: dict[int, str] = {}  # process id → its first module

    def wait() -> None:
        pid, status = os.wait()
        first = running.pop(pid)
        if status:
            sys.exit(f"compiling {first} and the modules after it failed: wait status {status}")

    for paths in groups:
        for start in range(0, len(paths), MODULES_PER_PROCESS):
            if len(running) == processors:
                wait()
            if pid := os.fork():
                running[pid] = paths[start]
            else:
                part = paths[start : start + MODULES_PER_PROCESS]
                os._exit(compile_modules(part, folder, final))
    while running:
        wait()


if __name__ == "__main__":
    root, *rest = sys.argv[1:]
    given = json.loads(Path(rest[1]).read_text()) if len(rest) > 1 else find_groups(root)
    compile_groups(given, root, rest[0] if rest else root)
