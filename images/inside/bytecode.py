"""Compiles the modules of a folder to the same bytecode from build to build.

usage: bytecode.py FOLDER [LATER]   what stands in FOLDER, and is to be known as in LATER

CPython writes equal sets of strings in a module once or several times, depending on which strings
the process met before: in other modules, so on what it compiled in which order. Here a module's
process has compiled the same others each time, in the same order: those of its package, and before
them it was forked from one that compiled none. PYTHONHASHSEED has to be the same each time too.

What is no Python 3 stays uncompiled without a word, as pip and uv have it.
"""

from __future__ import annotations

import gc
import os
import py_compile
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import suppress

MODULES_PER_PROCESS = 200  # modules of a large package in one process


def sorted_entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return sorted(found, key=lambda one: one.name)


def find_modules(entry: os.DirEntry[str]) -> Iterator[str]:
    """The entry itself or what is below it; no links."""
    if entry.is_dir(follow_symlinks=False):
        if entry.name != "__pycache__":
            for inner in sorted_entries(entry.path):
                yield from find_modules(inner)
    elif entry.name.endswith(".py") and entry.is_file(follow_symlinks=False):
        yield entry.path


def compile_modules(part: list[str], folder: str, later: str) -> int:
    """Exit code of the process."""
    try:
        for path in part:
            with suppress(py_compile.PyCompileError):
                py_compile.compile(
                    path,
                    dfile=later + path.removeprefix(folder),
                    doraise=True,
                    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
                )
    except BaseException:  # noqa: BLE001 - a fork must not go on with its parent's work
        traceback.print_exc()
        return 1
    return 0


def compile_folder(folder: str, later: str) -> None:
    """As many processes at a time as there are processors."""
    warnings.simplefilter("ignore")
    gc.disable()  # nothing here lives long
    most = len(os.sched_getaffinity(0))
    running: dict[int, str] = {}

    def wait() -> None:
        pid, status = os.wait()
        first = running.pop(pid)
        if status:
            sys.exit(f"compiling {first} and what follows it: wait status {status}")

    for entry in sorted_entries(folder):
        found = list(find_modules(entry))
        for begin in range(0, len(found), MODULES_PER_PROCESS):
            if len(running) == most:
                wait()
            if pid := os.fork():
                running[pid] = found[begin]
            else:
                os._exit(compile_modules(found[begin : begin + MODULES_PER_PROCESS], folder, later))
    while running:
        wait()


if __name__ == "__main__":
    compile_folder(sys.argv[1], sys.argv[-1])
