"""One look at everything that is kept, and what is done about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from mirror.backoff import Backoff
from mirror.core.errors import MirrorError
from mirror.drift import detect_drift
from mirror.reconciler.api import ApiStatusError
from mirror.reconciler.entry import DamagedEntryError, ReconciledObject, parse_entry
from mirror.reconciler.events import LOST, REVERTED, build_event, describe_last_writer

LEDGER_PATH = "/api/v1/namespaces/kube-system/configmaps"
_GONE = 404, 409, 422  # it was changed, or went away, between our look and our write


class ObjectApi(Protocol):
    """What of the API is used."""

    def get(self, path: str) -> Any: ...
    def patch(self, path: str, body: Any) -> Any: ...
    def create(self, path: str, body: Any) -> Any: ...


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class ObjectReconciler:
    """``targets``: page of the ledger → the API's path of the object it is about."""

    api: ObjectApi
    targets: Mapping[str, str]
    log: Callable[[str], None]
    now: Callable[[], datetime] = _now
    _patience: Backoff = field(default_factory=Backoff)
    _told: dict[str, bytes | None] = field(default_factory=dict)

    def reconcile(self) -> None:
        """Everything once. What cannot be done is said, and tried at the next look."""
        for name, path in self.targets.items():
            try:
                self._one(name, path)
            except (ApiStatusError, DamagedEntryError, MirrorError, OSError) as broken:
                self.log(f"{path}: {broken}")

    def _one(self, name: str, path: str) -> None:
        # the target first: a page that is settled after it was read is not older than it
        found = self.api.get(path)
        held = self.api.get(f"{LEDGER_PATH}/{name}")
        page = parse_entry(held, path) if held else None
        if page is None:
            return  # rolled back, or somebody is at it
        if found is None and page.written is not None:
            self._lost(page, None, None, "it is gone")
            return
        content = page.extract_content(found)
        verdict = detect_drift(page.base, page.written, content, spec=page.key is None)
        if verdict.state == "unclear":
            self._lost(page, found, content, verdict.why + describe_last_writer(found))
        elif verdict.state == "reverted" and self._patience.is_due(name, self.now()):
            self._put_back(page, found, verdict.content)

    def _put_back(self, page: ReconciledObject, found: Any, content: bytes) -> None:
        try:
            self.api.patch(page.path, page.build_patch(found, content))
        except ApiStatusError as refused:
            if refused.status in _GONE:
                return
            raise
        self._patience.record(page.name, self.now())
        self._tell(
            page,
            found,
            REVERTED,
            f"changed back{describe_last_writer(found)}; put back by the keeper",
        )

    def _lost(self, page: ReconciledObject, found: Any, content: bytes | None, why: str) -> None:
        """What the keeper does not mend is told once for each text that it finds."""
        if self._told.get(page.name, b"") != content:
            again = ", ".join(f"mirror fix {fix}" for fix in page.fixes)
            self._tell(page, found, LOST, f"{why}; not put back: {again}")
            self._told[page.name] = content

    def _tell(self, page: ReconciledObject, found: Any, reason: str, what: str) -> None:
        path, body = build_event(page, found, reason, what, self.now())
        self.log(f"{page.path}: {body['message']}")
        self.api.create(path, body)
