"""Docker's own configuration: the current context (an engine) and the rules of .dockerignore."""

from __future__ import annotations

import os
from typing import Any

from docker.context import ContextAPI
from docker.utils.build import exclude_paths


def read_docker_context() -> dict[str, Any]:
    """Return the APIClient arguments of the current context.

    The current context is $DOCKER_CONTEXT, else what `docker context use` chose. Raises ValueError
    if it cannot be read.
    """
    name = os.environ.get("DOCKER_CONTEXT")
    try:
        context = ContextAPI.get_context(name)
    except Exception as error:  # what the SDK raises if it cannot read a file
        raise ValueError(str(error)) from error
    if context is None:
        raise ValueError(f"there is no docker context {name or 'of the name in config.json'}")
    if context.name == "default":
        return {}
    host = context.Host or ""
    is_ssh = host.startswith("ssh://")
    return {"base_url": host, "tls": context.TLSConfig or False, "use_ssh_client": is_ssh}


def list_context_paths(root: str, rules: list[str]) -> set[str]:
    """Return the paths below a folder that the rules of a .dockerignore do not exclude."""
    return set(exclude_paths(root, rules))
