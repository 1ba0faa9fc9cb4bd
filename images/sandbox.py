"""A network whose only route is a relay to the mirror, and that writes down what else is tried.

Two containers of one image: the *watcher* has a network namespace with nothing but loopback; the
*gate* stands in the engine's host network. A Unix socket on a volume that they share joins them.
Builds and proofs run in the watcher's namespace.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from images.engine import EngineClient
from images.engine.containers import ContainerSpec, EngineContainer, create_volume, run_container
from mirror.core.errors import EngineError, InputError
from mirror.core.wait import Deadline, wait_until

RELAY_PORT = 3141  # of the relay, on the jail's loopback: the same whatever the mirror's address is
_INSIDE = Path(__file__).parent / "inside"
_MONITOR = "/pypi-mirror/monitor.py"
_SHARED = "/pypi-mirror-jail"
_SOCKET = f"{_SHARED}/mirror"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkAttempt:
    """Something outside that a program called; ``port`` 0 for a name that was looked up."""

    kind: str  # dns, connect (seen on the wire) or python (told by its audit hook)
    host: str
    port: int
    process: str
    modules: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorRoute:
    """Where the mirror answers, as the engine's host reaches it, and the index's path there."""

    address: str
    port: int
    path: str

    @property
    def sandbox_url(self) -> str:
        """The index's URL in the jail."""
        return f"http://127.0.0.1:{RELAY_PORT}{self.path}"

    @classmethod
    def parse(cls, url: str) -> MirrorRoute:
        """From an index URL. InputError for what the relay cannot carry: it passes bytes on."""
        parts = urlsplit(url)
        try:
            address, port = str(ip_address(parts.hostname or "")), parts.port or 80
            fit = parts.scheme == "http" and ":" not in address and not parts.username
        except ValueError:
            fit = False
        if not fit:
            raise InputError(
                f"not a mirror that a build can use: {re.sub(r'//[^/]*@', '//', url)}",
                why="the build's only route is a relay to http://<IPv4 address>[:port]/…",
                next_step="give the URL that `mirror env` or `mirror up` prints",
            )
        return cls(address=address, port=port, path=parts.path)


class Sandbox:
    """The watched network. ``network`` is the mode that joins it."""

    def __init__(self, watcher: EngineContainer, gate: EngineContainer | None = None) -> None:
        self._watcher, self._gate = watcher, gate
        self.network = watcher.shared_namespace

    @property
    def monitor(self) -> EngineContainer:
        return self._watcher

    def attempts(self) -> tuple[NetworkAttempt, ...]:
        """All that was called and is not the mirror, in the order it was first seen."""
        return tuple(
            NetworkAttempt(
                kind=str(told["kind"]),
                host=str(told["host"]).lower().rstrip("."),
                port=int(told["port"]),
                process=told["process"],
                modules=tuple(told["modules"]),
            )
            for told in self._lines()
            if told["kind"] not in ("relay", "broken")
        )

    def count_relayed(self) -> int:
        """Connections that went to the mirror."""
        return sum(1 for told in self._lines() if told["kind"] == "relay")

    def relay_error(self) -> str:
        """Why the mirror could not be reached through the gate; empty where it could."""
        for line in self._gate.read_log(stderr=False).splitlines() if self._gate else ():
            if line.startswith("{") and (told := json.loads(line))["kind"] == "broken":
                return f"the mirror at {told['host']} could not be reached: {told['process']}"
        return ""

    def _lines(self) -> Iterator[dict[str, Any]]:
        for line in self._watcher.read_log(stderr=False).splitlines():
            if line.startswith("{"):
                yield json.loads(line)


@contextmanager
def open_sandbox(
    engine: EngineClient, image: str, deadline: Deadline, route: MirrorRoute | None
) -> Iterator[Sandbox]:
    """A jail for the length of a block; ``image`` has python3. Without a route it leads nowhere."""
    files = {_MONITOR: (_INSIDE / "monitor.py").read_bytes()}
    # PTRACE: to read whose socket it is; RAW: to see packets; ADMIN: to set the route
    powers = ("NET_ADMIN", "NET_RAW", "NET_BIND_SERVICE", "SYS_PTRACE", "DAC_OVERRIDE")
    words = ("python3", _MONITOR)

    def plan(*argv: str, shared: str | None, **more: object) -> ContainerSpec:
        mount = (shared, _SHARED) if shared else None
        return ContainerSpec(
            image=image,
            argv=(*words, *argv),
            files=files,
            user="0",
            workdir="/",
            volume=mount,
            **more,  # type: ignore[arg-type]
        )

    inside = {"capabilities": powers, "sink_dns": True}
    if route is None:
        with run_container(engine, plan("0", shared=None, **inside)) as watcher:
            _ready(watcher, deadline)
            yield Sandbox(watcher)
        return
    with create_volume(engine) as shared:
        outside = ("relay", _SOCKET, route.address, str(route.port))
        with (
            run_container(engine, plan(*outside, shared=shared, network="host")) as gate,
            run_container(
                engine, plan(str(RELAY_PORT), _SOCKET, shared=shared, **inside)
            ) as watcher,
        ):
            _ready(gate, deadline)
            _ready(watcher, deadline)
            yield Sandbox(watcher, gate)


def _ready(watcher: EngineContainer, deadline: Deadline) -> None:
    def look() -> bool:
        if watcher.exit_code() is not None:
            raise EngineError(
                "the build's network could not be made",
                why=watcher.read_log()[-1500:],
                next_step="is python3 in the base image? give another with --base",
            )
        return "ready" in watcher.read_log()

    wait_until(look, deadline=deadline.within(30), what="the build's network", interval=0.05)
