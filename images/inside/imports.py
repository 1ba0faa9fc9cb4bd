"""Import every module of some packages. Print a JSON line for each: {"module", "error"}.

usage: imports.py PACKAGE...

A line without "error" is printed before each import, in case the import ends the process.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import pkgutil
import sys


def main() -> None:
    # keep the output of modules apart from the result
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def load(name: str) -> None:
        print(json.dumps({"module": name}), file=out, flush=True)
        try:
            importlib.import_module(name)
            error = ""
        except BaseException as failure:  # noqa: BLE001 - SystemExit too
            error = f"{type(failure).__name__}: {failure}"[:500]
        print(json.dumps({"module": name, "error": error}), file=out, flush=True)

    def load_package(name: str) -> None:
        load(name)
        module = sys.modules.get(name)
        paths = getattr(module, "__path__", None)
        if paths is None and module is None:
            # the package does not import, but its modules are checked anyway
            spec = importlib.util.find_spec(name) if "." not in name else None
            paths = spec.submodule_search_locations if spec else None
        for info in pkgutil.iter_modules(paths) if paths else ():
            if info.name == "__main__":
                continue
            inner = f"{name}.{info.name}"
            load_package(inner) if info.ispkg else load(inner)

    for package in sys.argv[1:]:
        load_package(package)
    out.flush()
    os._exit(0)  # do not wait for threads that an import has started


if __name__ == "__main__":
    main()
