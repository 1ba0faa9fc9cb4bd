"""Instructions of Dockerfiles, in exec form only: no shell reads a value."""

from __future__ import annotations

import json
from collections.abc import Mapping

BUILD_PATH = "/build"  # files of the build that stay in the first stage
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run(*argv: str) -> str:
    return f"RUN {json.dumps(argv)}"


def copy(*paths: str, stage: str | None = None, owner: str | None = None) -> str:
    """Return a COPY instruction; the last path is the target."""
    options = (f"--from={stage} " if stage else "") + (f"--chown={owner} " if owner else "")
    return f"COPY {options}{json.dumps(paths)}"


def assign(values: Mapping[str, str]) -> str:
    """Return the arguments of an ENV or LABEL instruction.

    The builder must not find variables or quotes in the values.
    """
    quoted = {key: json.dumps(value, ensure_ascii=False) for key, value in values.items()}
    return " ".join(f"{key}={value}".replace("$", "\\$") for key, value in quoted.items())
