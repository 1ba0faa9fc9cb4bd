"""Print an environment as JSON: marker values, distributions, and what was built from sdists.

{"markers": {name: value}, "distributions": [{"name", "version", "backend", "licence"}],
 "built": ["NAME VERSION"], "builders": ["NAME VERSION"]}
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import pathlib
import platform
import sys


def read_generator(distribution: importlib.metadata.Distribution) -> str:
    """Return the build backend that a wheel names as its generator, or an empty string."""
    for line in (distribution.read_text("WHEEL") or "").splitlines():
        key, _, value = line.partition(": ")
        if key == "Generator":
            return value
    return ""


def read_lines(name: str) -> list[str]:
    """Return the lines of a file that installer.py wrote into the environment."""
    path = pathlib.Path(sys.prefix, name)
    return path.read_text().splitlines() if path.exists() else []


def main() -> None:
    version = sys.implementation.version
    markers = {
        "implementation_name": sys.implementation.name,
        "implementation_version": f"{version.major}.{version.minor}.{version.micro}",
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
    distributions = [
        {
            "name": distribution.metadata["Name"],
            "version": distribution.version,
            "backend": read_generator(distribution),
            "licence": distribution.metadata["License-Expression"] or "",
        }
        for distribution in importlib.metadata.distributions()
    ]
    result = {
        "markers": markers,
        "distributions": distributions,
        "built": read_lines("built-from-sdist"),
        "builders": read_lines("built-with"),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
