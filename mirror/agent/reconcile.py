"""Restores the desired state of a node, and reports each restoration.

This happens only while the cluster has a reconciler. The command that creates it sends every agent
its desired state. Each agent's pod mounts a marker (a ConfigMap) that exists as long as the
reconciler does, so a node that was down learns from it whether to restore anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from mirror.agent import allowlist, desired_state, node_defaults
from mirror.agent.desired_state import DesiredTarget
from mirror.agent.host_paths import HostPaths, NotAllowedError, TargetError
from mirror.agent.targets import is_file, read_target, write_target
from mirror.backoff import Backoff, utc_now
from mirror.core.errors import MirrorError
from mirror.drift import FINE, LOST, REVERTED, DriftVerdict, describe_loss, detect_drift
from mirror.snapshot import WriteConflict

ENABLED_MARKER = Path("/keeper/nodes")
_ERRORS = (TargetError, WriteConflict, MirrorError, OSError)


def report_versions(host: HostPaths, targets: Collection[str]) -> dict[str, Any]:
    """Return the version of each target that can be read, and the targets of the desired state."""
    try:
        desired = desired_state.read(host)
    except TargetError:
        desired = []
    versions = _read_versions(host, targets)
    return {"versions": versions, "keeps": [target.target for target in desired]}


def _read_versions(host: HostPaths, targets: Collection[str]) -> dict[str, str]:
    versions = {}
    for target in targets:
        with suppress(TargetError, OSError):
            versions[target] = read_target(host, target).version
    return versions


def set_desired_state(
    host: HostPaths, requested: Collection[dict[str, Any]], *, include_defaults: bool
) -> dict[str, Any]:
    """Replace the desired state with the requested targets, and the node defaults if asked to.

    A target whose version is not the one ``seen`` before its ledger entry was read is left out:
    somebody may have rolled it back. If a node default wrote a target before the fix was applied,
    the fix found nothing to change; the target's base is then the one that the default recorded.
    """
    defaults = node_defaults.read_applied(host) if include_defaults else []
    by_target = {record["target"]: record for record in defaults}
    versions = _read_versions(host, [request["target"] for request in requested])
    desired, rejected = [], []
    for request in requested:
        record = by_target.pop(request["target"], None)
        try:
            check_desired(DesiredTarget.from_json(request, request["fixes"]))
            if versions.get(request["target"]) == request["seen"]:
                source = record if record and request["base"] == request["written"] else request
                desired.append(DesiredTarget.from_json(source, request["fixes"]))
        except TargetError as error:
            rejected.append(str(error))
    desired += [_desire_default(record) for record in by_target.values()]
    desired_state.write(host, desired)
    return {"keeps": [target.target for target in desired], "rejected": rejected}


def check_desired(desired: DesiredTarget) -> None:
    """Raise NotAllowedError unless a fix may have made ``written`` from ``base``."""
    if desired.base == desired.written:  # somebody else had made the same change before
        allowlist.check_target(desired.target)
    elif desired.target == allowlist.BOOT_FILE and desired.written is None:
        raise NotAllowedError(f"{desired.target}: no fix removes it")
    else:
        allowlist.check_change(desired.target, desired.base, desired.written)


def find_rejected(host: HostPaths) -> list[str]:
    """Return a line for everything in the desired state that the agent does not restore."""
    try:
        desired = desired_state.read(host)
    except TargetError as error:
        return [str(error)]
    rejected = []
    for target in desired:
        try:
            check_desired(target)
        except TargetError as error:
            rejected.append(f"not restored: {error}")
    return rejected


def initialize_desired_state(host: HostPaths, marker: Path = ENABLED_MARKER) -> None:
    """When the agent starts: add the node defaults, or clear the state if there is no marker."""
    if not marker.exists():
        desired_state.write(host, [])
        return
    desired = desired_state.read(host)
    known = {target.target for target in desired}
    defaults = map(_desire_default, node_defaults.read_applied(host))
    desired += [default for default in defaults if default.target not in known]
    desired_state.write(host, desired)


def _desire_default(record: dict[str, Any]) -> DesiredTarget:
    return DesiredTarget.from_json(record, node_defaults.DEFAULTS_FIXES)


@dataclass(slots=True)
class NodeReconciler:
    """Restores the desired state. ``log`` writes the pod's log, ``emit_event`` reports an Event."""

    host: HostPaths
    log: Callable[[str], None]
    emit_event: Callable[[str], None]
    now: Callable[[], datetime] = utc_now
    marker: Path = ENABLED_MARKER
    _marker_seen: bool = False
    _last_error: str = ""
    _backoff: Backoff = field(default_factory=Backoff)
    _reported: dict[str, tuple[str, bytes | None]] = field(default_factory=dict)

    def reconcile(self) -> None:
        """Check every target once. An error is reported, and the next call tries again."""
        error = ""
        try:
            with self.host.lock():
                self._marker_seen = self._marker_seen or self.marker.exists()
                if self._marker_seen and not self.marker.exists():
                    # the reconciler was removed while nobody could reach this node
                    desired_state.write(self.host, [])
                for desired in desired_state.read(self.host):
                    self._reconcile_target(desired)
        except _ERRORS as failure:
            error = f"{LOST}: {failure}"
        if error and error != self._last_error:
            self.log(error)
            self.emit_event(error)
        self._last_error = error

    def _reconcile_target(self, desired: DesiredTarget) -> None:
        try:
            check_desired(desired)
            current = read_target(self.host, desired.target)
            verdict = _detect_drift(desired, current.content)
            if verdict.state == "unclear":
                self._report_loss(desired, verdict.why, current.content)
            elif verdict.state == "fine":
                self._reported.pop(desired.target, None)
            elif self._backoff.is_due(desired.target, self.now()):
                write_target(self.host, desired.target, verdict.content, current.version)
                self._backoff.record(desired.target, self.now())
                self._report(desired, REVERTED, "reverted; restored by the node agent")
        except WriteConflict:
            return  # somebody has just written it: check it next time
        except _ERRORS as error:
            self._report_loss(desired, str(error), None)

    def _report_loss(self, desired: DesiredTarget, why: str, content: bytes | None) -> None:
        """Report a target that is not restored, once for each content that is found."""
        if self._reported.get(desired.target) != (why, content):
            self._reported[desired.target] = (why, content)
            self._report(desired, LOST, describe_loss(why, desired.fixes))

    def _report(self, desired: DesiredTarget, reason: str, description: str) -> None:
        fixes = ", ".join(desired.fixes)
        message = f"{reason}: fix {fixes}: {desired.target}: {description}"
        self.log(message)
        self.emit_event(message)


def _detect_drift(desired: DesiredTarget, content: bytes | None) -> DriftVerdict:
    """Like mirror.drift, except that a setting is one value and a conflist must stay JSON."""
    if not is_file(desired.target):
        if content is None:
            return DriftVerdict(state="unclear", why="the kernel no longer has this setting")
        if content == desired.written:
            return FINE
        return DriftVerdict(state="reverted", content=desired.written or b"")
    owned = desired.target == allowlist.BOOT_FILE
    verdict = detect_drift(desired.base, desired.written, content, spec=False, owned=owned)
    breaks_json = _is_json(desired.written) and not _is_json(verdict.content)
    if verdict.state == "reverted" and breaks_json:
        return DriftVerdict(state="unclear", why="it was edited next to what the fix had changed")
    return verdict


def _is_json(content: bytes | None) -> bool:
    try:
        json.loads(content or b"")
    except ValueError:
        return False
    return True
