"""A conflist that a node's agent keeps, and what it told."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.formats.conflist import turn_ipv6_off
from mirror.agent.__main__ import answer
from mirror.agent.keep import Keep
from mirror.agent.place import Place
from tests.cluster.calico.objects import CONFIG
from tests.cluster.node_field import on_the_node
from tests.unit.agent.asking import FILE, read, write

BASE = on_the_node(CONFIG % "true").encode()
WRITTEN = turn_ipv6_off(BASE.decode()).encode()


class Told:
    """A keeper of this place, what it told, and its clock."""

    def __init__(self, place: Place, mark: Path = Path("/nowhere")) -> None:
        self.place, self.texts = place, list[str]()
        self.at = datetime(2026, 1, 1, tzinfo=UTC)
        self.keep = Keep(place, lambda _: None, self.texts.append, lambda: self.at, mark)

    def look(self) -> bytes | None:
        self.keep.look()
        path = self.place.file(FILE)
        return path.read_bytes() if path.exists() else None


def text(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()


def page(place: Place, target: str, base: bytes | None, written: bytes, **more: Any) -> Any:
    seen = read(place, target)["version"]
    fixes = ["pod-sysctl" if target == FILE else "host-sysctl"]
    told = {"target": target, "base": text(base), "written": text(written), "fixes": fixes}
    return {**told, "seen": seen, **more}


def keep(place: Place, *given: Any, orders: bool = False) -> list[str]:
    told = answer(place, {"do": "keep", "pages": list(given), "orders": orders})
    return list(told["keeps"])


def fixed(place: Place) -> None:
    """A conflist with the fix, and kept."""
    write(place, FILE, WRITTEN, read(place, FILE))
    assert keep(place, page(place, FILE, BASE, WRITTEN)) == [FILE]


def off(place: Place, name: str = "all") -> str:
    return (place.net / f"ipv6/conf/{name}/disable_ipv6").read_text()
