"""Imports every module of some packages, one JSON line each: {"module", "error"}.

usage: imports.py PACKAGE...
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import pkgutil
import sys


def main() -> None:
    # what modules print is not our answer
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def told(module: str, error: str) -> None:
        print(json.dumps({"module": module, "error": error}), file=out, flush=True)

    def load(name: str) -> None:
        print(json.dumps({"module": name}), file=out, flush=True)  # should it end us
        try:
            importlib.import_module(name)
        except BaseException as broken:  # noqa: BLE001 - SystemExit too
            told(name, f"{type(broken).__name__}: {broken}"[:500])
        else:
            told(name, "")

    def walk(name: str) -> None:
        load(name)
        module = sys.modules.get(name)
        paths = getattr(module, "__path__", None)
        if paths is None and module is None:
            # its own import failed: its parts are named all the same
            spec = importlib.util.find_spec(name) if "." not in name else None
            paths = spec.submodule_search_locations if spec else None
        for one in pkgutil.iter_modules(paths) if paths else ():
            if one.name == "__main__":
                continue
            inner = f"{name}.{one.name}"
            walk(inner) if one.ispkg else load(inner)

    for name in sys.argv[1:]:
        walk(name)
    out.flush()
    os._exit(0)  # threads that an import has started do not keep us


if __name__ == "__main__":
    main()
