"""A network that can only reach the mirror and records every other connection attempt.

It consists of two containers that run the same image. The monitor owns a network namespace with
only a loopback interface; builds and proofs join it. The relay runs in the engine's host network. A
Unix socket on a shared volume connects them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from images.engine import EngineClient
from images.engine.containers import ContainerSpec, EngineContainer, create_volume, run_container
from images.failure import RaisedError, parse_chain
from images.inside import read_program
from mirror.core.errors import EngineError, InputError
from mirror.core.wait import Deadline, wait_until

RELAY_PORT = 3141  # on the sandbox's loopback, whatever the mirror's own address is
_PROGRAM = "/pypi-mirror/monitor.py"
_SHARED = "/pypi-mirror-sandbox"
_SOCKET = f"{_SHARED}/mirror"
_CAPABILITIES = (
    "NET_ADMIN",  # set the route
    "NET_RAW",  # see packets
    "NET_BIND_SERVICE",  # answer DNS
    "SYS_PTRACE",  # find the process of a socket
    "DAC_OVERRIDE",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkAttempt:
    """A host outside of the sandbox that a program tried to reach.

    ``kind`` is "dns" (a name was looked up; ``port`` is 0), "connect" (a packet was seen) or
    "python" (Python's audit hook reported it; ``modules`` is only set for these, innermost first).
    """

    kind: str
    host: str
    port: int
    process: str
    modules: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorRoute:
    """The mirror's address as seen from the engine's host, and the path of its index."""

    address: str
    port: int
    path: str

    @property
    def sandbox_url(self) -> str:
        """The URL of the index in the sandbox."""
        return f"http://127.0.0.1:{RELAY_PORT}{self.path}"

    @classmethod
    def parse(cls, url: str) -> MirrorRoute:
        """Parse an index URL. Raises InputError unless it is http://<IPv4 address>[:port]/…"""
        parts = urlsplit(url)
        try:
            address, port = str(ip_address(parts.hostname or "")), parts.port or 80
            is_usable = parts.scheme == "http" and ":" not in address and not parts.username
        except ValueError:
            is_usable = False
        if not is_usable:
            raise InputError(
                f"not a mirror that a build can use: {re.sub(r'//[^/]*@', '//', url)}",
                why="the build's only route is a relay to http://<IPv4 address>[:port]/…",
                next_step="give the URL that `mirror env` or `mirror up` prints",
            )
        return cls(address=address, port=port, path=parts.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A running sandbox."""

    monitor: EngineContainer
    relay: EngineContainer | None

    @property
    def network(self) -> str:
        """The network_mode or pid_mode by which containers join it."""
        return f"container:{self.monitor.id}"

    def attempts(self) -> tuple[NetworkAttempt, ...]:
        """Return every attempt to reach anything but the mirror, in order."""
        return tuple(
            NetworkAttempt(
                kind=str(event["kind"]),
                host=str(event["host"]).lower().rstrip("."),
                port=int(event["port"]),
                process=event["process"],
                modules=tuple(event["modules"]),
            )
            for event in _read_events(self.monitor)
            if event["kind"] not in ("relay", "broken", "end")
        )

    def endings(self) -> tuple[tuple[RaisedError, ...], ...]:
        """Return why Python programs ended, in order: an exception and what led to it, each."""
        return tuple(
            parse_chain(event["chain"])
            for event in _read_events(self.monitor)
            if event["kind"] == "end"
        )

    def count_relayed(self) -> int:
        """Return the number of connections to the mirror."""
        return sum(event["kind"] == "relay" for event in _read_events(self.monitor))

    def relay_error(self) -> str:
        """Return why the relay could not reach the mirror, or an empty string."""
        for event in _read_events(self.relay) if self.relay else ():
            if event["kind"] == "broken":
                return f"the mirror at {event['host']} could not be reached: {event['process']}"
        return ""


def _read_events(container: EngineContainer) -> Iterator[dict[str, Any]]:
    """Yield what monitor.py has printed: one JSON object per line."""
    for line in container.read_log(stderr=False).splitlines():
        if line.startswith("{"):
            yield json.loads(line)


@contextmanager
def open_sandbox(
    engine: EngineClient, image: str, route: MirrorRoute | None = None
) -> Iterator[Sandbox]:
    """Run a sandbox for the length of a block. Without a route it leads nowhere.

    ``image`` must have python3.
    """
    with ExitStack() as stack:
        volume = (stack.enter_context(create_volume(engine)), _SHARED) if route else None

        def start(*arguments: str, **options: Any) -> EngineContainer:
            """Start monitor.py; ``options`` are fields of ContainerSpec."""
            spec = ContainerSpec(
                image=image,
                argv=("python3", _PROGRAM, *arguments),
                files={_PROGRAM: read_program("monitor.py")},
                user="0",
                workdir="/",
                volume=volume,
                **options,
            )
            return stack.enter_context(run_container(engine, spec))

        relay, port = None, 0
        if route:
            port, target = RELAY_PORT, (route.address, str(route.port))
            relay = start("relay", _SOCKET, *target, network_mode="host")
        monitor = start(str(port), _SOCKET, capabilities=_CAPABILITIES, loopback_dns=True)
        for container in (relay, monitor):
            if container:
                _wait_ready(container, engine.deadline)
        yield Sandbox(monitor=monitor, relay=relay)


def _wait_ready(container: EngineContainer, deadline: Deadline) -> None:
    def is_ready() -> bool:
        if container.exit_code() is not None:
            raise EngineError(
                "the build's network could not be set up",
                why=container.read_log()[-1500:],
                next_step="choose a base image that has python3: --base",
            )
        return "ready" in container.read_log()

    wait_until(is_ready, deadline=deadline.within(30), what="the build's network", interval=0.05)
