"""What an environment has: its markers' values, and each distribution's version, as JSON."""

from __future__ import annotations

import importlib.metadata
import json
import os
import pathlib
import platform
import sys


def read_generator(one: importlib.metadata.Distribution) -> str:
    """What built its wheel, as the wheel itself says."""
    for line in (one.read_text("WHEEL") or "").splitlines():
        key, _, value = line.partition(": ")
        if key == "Generator":
            return value
    return ""


def main() -> None:
    version = sys.implementation.version
    full = f"{version.major}.{version.minor}.{version.micro}"
    markers = {
        "implementation_name": sys.implementation.name,
        "implementation_version": full,
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": platform.python_version(),
        "platform_python_implementation": platform.python_implementation(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
        "extra": "",
    }
    found = [
        {
            "name": one.metadata["Name"],
            "version": one.version,
            "backend": read_generator(one),
            "licence": one.metadata["License-Expression"] or "",
        }
        for one in importlib.metadata.distributions()
    ]
    built = {
        key: path.read_text().splitlines()
        if (path := pathlib.Path(sys.prefix, name)).exists()
        else []
        for key, name in (("built", "built-from-sdist"), ("builders", "built-with"))
    }
    print(json.dumps({"markers": markers, "distributions": found, **built}))


if __name__ == "__main__":
    main()
