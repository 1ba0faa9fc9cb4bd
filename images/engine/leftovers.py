"""Remove containers, volumes and images of processes that were killed or whose engine died.

All our containers and volumes carry a label with the process that owns them, and images that are
not finished have it in their name. The next build on the same machine removes those whose owner no
longer exists.
"""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import psutil

from images.engine import ENGINE_FAILURES, EngineClient
from mirror.core.errors import EngineError

OWNER_LABEL = "io.github.pypi-mirror.work"
UNFINISHED = "pypi-mirror-unfinished"  # repository of images that have not passed their proof
_CLOCK_TOLERANCE = 3600  # seconds: a process's start time shifts if the clock is set


def current_owner() -> str:
    """Return what identifies this process: machine, process id and start time (Unix)."""
    return f"{_machine_id()}/{os.getpid()}/{_start_time(os.getpid())}"


def unfinished_name() -> str:
    """Return a new name for an image that this process has not finished."""
    return f"{UNFINISHED}:{current_owner().replace('/', '-')}-{secrets.token_hex(4)}"


def remove_leftovers(engine: EngineClient) -> tuple[str, ...]:
    """Remove what belongs to processes that have ended; return the names."""
    with engine.api_call("look for leftovers of earlier builds"):
        containers: Any = engine.api.containers(all=True)
        volumes: Any = engine.api.volumes(filters={"label": OWNER_LABEL})["Volumes"] or []
    orphans = [container for container in containers if _is_orphan(container)]
    networks = {f"container:{container['Id']}" for container in orphans}
    # the engine's containers for build steps have no label, but share the network of an orphan
    steps = [entry for entry in containers if entry["HostConfig"].get("NetworkMode") in networks]
    removed = []
    for container in (*steps, *orphans):
        with suppress(*ENGINE_FAILURES):
            engine.api.remove_container(container["Id"], force=True, v=True)
            removed.append(container["Names"][0].lstrip("/"))
    for volume in filter(_is_orphan, volumes):
        with suppress(*ENGINE_FAILURES):
            engine.api.remove_volume(volume["Name"], force=True)
            removed.append(volume["Name"])
    for name in engine.list_names(UNFINISHED):
        machine, pid, started, *_ = [*name.partition(":")[2].split("-"), "", ""]
        if _has_ended(machine, pid, started):
            with suppress(EngineError):
                engine.untag(name)
                removed.append(name)
    return tuple(removed)


def _is_orphan(thing: Mapping[str, Any]) -> bool:
    """Whether the label of a container or volume names a process of this machine that has ended."""
    machine, *numbers = ((thing["Labels"] or {}).get(OWNER_LABEL) or "").split("/")
    return len(numbers) == 2 and _has_ended(machine, *numbers)


def _has_ended(machine: str, pid: str, started: str) -> bool:
    if machine != _machine_id() or not (pid + started).isdigit():
        return False
    return abs(_start_time(int(pid)) - int(started)) > _CLOCK_TOLERANCE


def _machine_id() -> str:
    """Return a hash of this machine and PID namespace, in which process ids are unique."""
    parts = [platform.node(), str(uuid.getnode())]
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115 - no path: pid:[4026531836]
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:16]


def _start_time(pid: int) -> int:
    """Return when a process started (Unix time, seconds); 0 if it does not exist."""
    try:
        return int(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return 0
