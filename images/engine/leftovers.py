"""What a command that was killed, or whose engine died, left on the engine: the next one's to take.

Every container and volume of ours is labelled with the process that it works for.
"""

from __future__ import annotations

import hashlib
import os
import platform
import uuid
from contextlib import suppress
from typing import Any

import psutil

from images.engine import ENGINE_FAILURES, EngineClient

OWNER_LABEL = "io.github.pypi-mirror.work"  # on everything that must not outlive a command
_SLACK = 3600  # seconds: the kernel counts from its start, which moves when the clock is set


def current_owner() -> str:
    """This process, so that no other one is taken for it: machine, number and time of its start."""
    return f"{_machine()}/{os.getpid()}/{_started(os.getpid())}"


def remove_leftovers(engine: EngineClient) -> tuple[str, ...]:
    """Remove the containers and volumes of processes that are no more; their names."""
    filters = {"label": OWNER_LABEL}
    with engine.api_call("look for what earlier builds left"):
        every: Any = engine.api.containers(all=True)
        volumes: Any = engine.api.volumes(filters=filters)["Volumes"] or []
    dead = [one for one in every if _is_dead((one["Labels"] or {}).get(OWNER_LABEL))]
    networks = {f"container:{one['Id']}" for one in dead}
    # a step of a build has no label of ours: it is known by our network, which it has joined
    steps = [one for one in every if one["HostConfig"].get("NetworkMode") in networks]
    gone = []
    for one in (*steps, *dead):
        with suppress(*ENGINE_FAILURES):
            engine.api.remove_container(one["Id"], force=True, v=True)
            gone.append(one["Names"][0].lstrip("/"))
    for volume in volumes:
        if _is_dead((volume["Labels"] or {}).get(OWNER_LABEL)):
            with suppress(*ENGINE_FAILURES):
                engine.api.remove_volume(volume["Name"], force=True)
                gone.append(volume["Name"])
    return tuple(gone)


def _is_dead(told: str | None) -> bool:
    """Whether a label names a process of this machine that has ended."""
    words = (told or "").split("/")
    if len(words) != 3 or words[0] != _machine() or not (words[1] + words[2]).isdigit():
        return False
    return abs(_started(int(words[1])) - int(words[2])) > _SLACK


def _machine() -> str:
    """What process numbers are counted in: another user of this engine has its own."""
    told = [platform.node(), str(uuid.getnode())]
    with suppress(OSError):
        told.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115 - no path: pid:[4026531836]
    return hashlib.sha256("/".join(told).encode()).hexdigest()[:16]


def _started(pid: int) -> int:
    """Seconds of the clock; 0 where there is no such process."""
    try:
        return int(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return 0
