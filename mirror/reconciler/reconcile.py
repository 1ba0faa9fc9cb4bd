"""Compares every object with its ledger entry, and restores the ones that were reverted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from mirror.backoff import Backoff, utc_now
from mirror.core.errors import MirrorError
from mirror.drift import LOST, REVERTED, describe_loss, detect_drift
from mirror.ledger import DamagedEntryError
from mirror.reconciler.api import ApiStatusError
from mirror.reconciler.entry import ReconcilerEntry, parse_entry
from mirror.reconciler.events import build_event, describe_last_writer

LEDGER_PATH = "/api/v1/namespaces/kube-system/configmaps"
_CHANGED_MEANWHILE = 404, 409, 422  # the object was written or deleted after it was read


class ObjectApi(Protocol):
    """The part of the API client that the reconciler uses."""

    def get(self, path: str) -> Any: ...
    def patch(self, path: str, body: Any) -> Any: ...
    def create(self, path: str, body: Any) -> Any: ...


@dataclass(slots=True)
class ObjectReconciler:
    """``targets`` maps the ConfigMap of each ledger entry to the API path of its object.

    Objects in ``watched`` are only compared: what reverted them is reported.
    """

    api: ObjectApi
    targets: Mapping[str, str]
    log: Callable[[str], None]
    now: Callable[[], datetime] = utc_now
    watched: Mapping[str, str] = field(default_factory=dict)
    _backoff: Backoff = field(default_factory=Backoff)
    _reported: dict[str, bytes | None] = field(default_factory=dict)

    def reconcile(self) -> None:
        """Check every object once. An error is logged, and the next call tries again."""
        for name, path in (*self.targets.items(), *self.watched.items()):
            try:
                self._reconcile_object(name, path)
            except (ApiStatusError, DamagedEntryError, MirrorError, OSError) as error:
                self.log(f"{path}: {error}")

    def _reconcile_object(self, name: str, path: str) -> None:
        # the object is read first: an entry that is complete when read later is not older than it
        obj = self.api.get(path)
        stored = self.api.get(f"{LEDGER_PATH}/{name}")
        entry = parse_entry(stored, path) if stored else None
        if entry is None:
            return  # it was rolled back, or a command is writing it
        if obj is None and entry.written is not None:
            self._report_loss(entry, None, None, "it is gone")
            return
        content = entry.extract_content(obj)
        is_watched = name in self.watched
        verdict = detect_drift(
            entry.base,
            entry.written,
            content,
            spec=entry.key is None,
            owned=is_watched and entry.base is None,
        )
        if verdict.state == "fine":
            self._reported.pop(name, None)
        elif is_watched:
            why = verdict.why or "it was reverted"
            by = describe_last_writer(obj) if obj else ""
            self._report_loss(entry, obj, content, f"{why}{by}, and only a person may restore it")
        elif flaw := entry.find_flaw():
            self._report_loss(entry, obj, content, flaw)
        elif verdict.state == "unclear":
            self._report_loss(entry, obj, content, verdict.why + describe_last_writer(obj))
        elif verdict.state == "reverted" and self._backoff.is_due(name, self.now()):
            self._restore(entry, obj, verdict.content)

    def _restore(self, entry: ReconcilerEntry, obj: Any, content: bytes) -> None:
        try:
            self.api.patch(entry.path, entry.build_patch(obj, content))
        except ApiStatusError as error:
            if error.status in _CHANGED_MEANWHILE:
                return
            raise
        self._backoff.record(entry.name, self.now())
        description = f"reverted{describe_last_writer(obj)}; restored by the reconciler"
        self._report(entry, obj, REVERTED, description)

    def _report_loss(
        self, entry: ReconcilerEntry, obj: Any, content: bytes | None, why: str
    ) -> None:
        """Report an object that is not restored, once for each content that is found."""
        if self._reported.get(entry.name, b"") != content:
            self._report(entry, obj, LOST, describe_loss(why, entry.fixes))
            self._reported[entry.name] = content

    def _report(self, entry: ReconcilerEntry, obj: Any, reason: str, description: str) -> None:
        path, event = build_event(entry, obj, reason, description, self.now())
        self.log(f"{entry.path}: {event['message']}")
        self.api.create(path, event)
