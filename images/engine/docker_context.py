"""Which engine is meant, and which files are sent to it: as docker itself reads both."""

from __future__ import annotations

import os
from typing import Any

from docker.context import ContextAPI
from docker.utils.build import exclude_paths


def read_docker_context() -> dict[str, Any]:
    """What the current docker context (DOCKER_CONTEXT, else `docker context use`) says."""
    name = os.environ.get("DOCKER_CONTEXT")
    try:
        context = ContextAPI.get_context(name)
    except Exception as broken:  # the SDK raises that where it cannot read a file
        raise ValueError(str(broken)) from broken
    if context is None:
        raise ValueError(f"there is no docker context {name or 'as config.json names it'}")
    if context.name == "default":
        return {}
    host = context.Host or ""
    ssh = host.startswith("ssh://")
    return {"base_url": host, "tls": context.TLSConfig or False, "use_ssh_client": ssh}


def list_context_paths(root: str, rules: list[str]) -> set[str]:
    """Paths below a folder that .dockerignore's rules leave in, by docker's own reading of them."""
    return set(exclude_paths(root, rules))
