"""Keeping what is on this node: put back what something changed back, and tell of it.

Only while there is a keeper in the cluster. Whoever makes it tells the agents; a node that was
away then sees it by a mark in its pod (a ConfigMap), which goes with the keeper.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mirror.agent import desired_state, node_defaults
from mirror.agent.desired_state import DesiredTarget
from mirror.agent.host_paths import HostPaths, TargetError
from mirror.agent.lock import lock_host
from mirror.backoff import Backoff
from mirror.core.errors import MirrorError
from mirror.drift import DriftVerdict, detect_drift
from mirror.snapshot import WriteConflict

ENABLED_MARKER = Path("/keeper/nodes")
_BROKEN = (TargetError, WriteConflict, MirrorError, OSError)


def report_versions(host: HostPaths, targets: Collection[str]) -> dict[str, Any]:
    """The version of each target that can be read, and which are kept."""
    try:
        there = desired_state.read(host)
    except TargetError:
        there = []
    return {"versions": _versions(host, targets), "keeps": [page.target for page in there]}


def _versions(place: HostPaths, targets: Collection[str]) -> dict[str, str]:
    found = {}
    for target in targets:
        try:
            found[target] = node_defaults.read_target(place, target).version
        except (TargetError, OSError):
            continue
    return found


def set_desired_state(
    host: HostPaths, requested: Collection[dict[str, Any]], *, include_defaults: bool
) -> dict[str, Any]:
    """Keep these from now on, what came by standing order among them, and nothing else.

    One that is not what was ``seen`` before its page was read is left: somebody undid it, maybe.
    What came by order was there when the fix came, so its base is the order's.
    """
    ordered = (
        {one["target"]: one for one in node_defaults.read_applied(host)} if include_defaults else {}
    )
    versions = _versions(host, [one["target"] for one in requested])
    made = []
    for one in requested:
        order = ordered.pop(one["target"], None)
        if versions.get(one["target"]) == one["seen"]:
            late = order is not None and one["base"] == one["written"]
            made.append(DesiredTarget.from_json(order if order and late else one, one["fixes"]))
    made += [
        DesiredTarget.from_json(order, node_defaults.DEFAULTS_FIXES) for order in ordered.values()
    ]
    desired_state.write(host, made)
    return {"keeps": [page.target for page in made]}


def initialize_desired_state(host: HostPaths, marker: Path = ENABLED_MARKER) -> None:
    """When the agent starts: what came by order is kept too, or nothing, as the mark has it."""
    if not marker.exists():
        desired_state.write(host, [])
        return
    there = desired_state.read(host)
    known = {page.target for page in there}
    more = [
        DesiredTarget.from_json(one, node_defaults.DEFAULTS_FIXES)
        for one in node_defaults.read_applied(host)
        if one["target"] not in known
    ]
    desired_state.write(host, [*there, *more])


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class NodeReconciler:
    """``say`` is the log, ``tell`` goes to the cluster."""

    host: HostPaths
    log: Callable[[str], None]
    emit_event: Callable[[str], None]
    now: Callable[[], datetime] = _now
    marker: Path = ENABLED_MARKER
    _marked: bool = False
    _said: str = ""
    _patience: Backoff = field(default_factory=Backoff)
    _told: dict[str, tuple[str, bytes | None]] = field(default_factory=dict)

    def reconcile(self) -> None:
        """Everything once. What cannot be done is told, and tried at the next look."""
        said = ""
        try:
            with lock_host(self.host):
                self._marked = self._marked or self.marker.exists()
                if self._marked and not self.marker.exists():
                    desired_state.write(
                        self.host, []
                    )  # the keeper ended while nobody reached this node
                for page in desired_state.read(self.host):
                    self._one(page)
        except _BROKEN as broken:
            said = f"FixLost: {broken}"
        if said and said != self._said:
            self.log(said)
            self.emit_event(said)
        self._said = said

    def _one(self, page: DesiredTarget) -> None:
        try:
            now = node_defaults.read_target(self.host, page.target)
            verdict = _verdict(page, now.content)
            if verdict.state == "unclear":
                self._lost(page, verdict.why, now.content)
            elif verdict.state == "fine":
                self._told.pop(page.target, None)
            elif self._patience.is_due(page.target, self.now()):
                node_defaults.write_target(self.host, page.target, verdict.content, now.version)
                self._patience.record(page.target, self.now())
                self._tell(page, "FixReverted", "changed back; put back by the node agent")
        except WriteConflict:
            return  # somebody wrote it just now: at the next look
        except _BROKEN as broken:
            self._lost(page, str(broken), None)

    def _lost(self, page: DesiredTarget, why: str, content: bytes | None) -> None:
        """What is not mended is told once for each text that is found."""
        if self._told.get(page.target) != (why, content):
            self._told[page.target] = (why, content)
            again = ", ".join(f"mirror fix {fix}" for fix in page.fixes)
            self._tell(page, "FixLost", f"{why}; not put back: {again}")

    def _tell(self, page: DesiredTarget, reason: str, what: str) -> None:
        text = f"{reason}: fix {', '.join(page.fixes)}: {page.target}: {what}"
        self.log(text)
        self.emit_event(text)


def _verdict(page: DesiredTarget, content: bytes | None) -> DriftVerdict:
    """As for objects of the cluster; but a setting is one value, and a conflist stays JSON."""
    if not page.target.startswith("/"):
        if content is None:
            return DriftVerdict(state="unclear", why="the kernel has no such setting any more")
        same = content == page.written
        return DriftVerdict(state="fine" if same else "reverted", content=page.written or b"")
    made = detect_drift(page.base, page.written, content, spec=False)
    if made.state == "reverted" and _is_json(page.written) and not _is_json(made.content):
        return DriftVerdict(state="unclear", why="it was edited beside what the fix had changed")
    return made


def _is_json(content: bytes | None) -> bool:
    try:
        json.loads(content or b"")
    except ValueError:
        return False
    return True
