"""One look at everything that is kept, and what is done about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from mirror.core.errors import MirrorError
from mirror.drift import decide
from mirror.keeper.api import Refused
from mirror.keeper.event import LOST, REVERTED, event, writer
from mirror.keeper.page import Damaged, Page, read
from mirror.patience import Patience

LEDGER = "/api/v1/namespaces/kube-system/configmaps"
_GONE = 404, 409, 422  # it was changed, or went away, between our look and our write


class Door(Protocol):
    """What of the API is used."""

    def get(self, path: str) -> Any: ...
    def patch(self, path: str, body: Any) -> Any: ...
    def create(self, path: str, body: Any) -> Any: ...


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Keeper:
    """``targets``: page of the ledger → the API's path of the object it is about."""

    api: Door
    targets: Mapping[str, str]
    say: Callable[[str], None]
    now: Callable[[], datetime] = _now
    _patience: Patience = field(default_factory=Patience)
    _told: dict[str, bytes | None] = field(default_factory=dict)

    def look(self) -> None:
        """Everything once. What cannot be done is said, and tried at the next look."""
        for name, path in self.targets.items():
            try:
                self._one(name, path)
            except (Refused, Damaged, MirrorError, OSError) as broken:
                self.say(f"{path}: {broken}")

    def _one(self, name: str, path: str) -> None:
        # the target first: a page that is settled after it was read is not older than it
        found = self.api.get(path)
        held = self.api.get(f"{LEDGER}/{name}")
        page = read(held, path) if held else None
        if page is None:
            return  # rolled back, or somebody is at it
        if found is None and page.written is not None:
            self._lost(page, None, None, "it is gone")
            return
        content = page.content(found)
        verdict = decide(page.base, page.written, content, spec=page.key is None)
        if verdict.state == "unclear":
            self._lost(page, found, content, verdict.why + writer(found))
        elif verdict.state == "reverted" and self._patience.due(name, self.now()):
            self._put_back(page, found, verdict.content)

    def _put_back(self, page: Page, found: Any, content: bytes) -> None:
        try:
            self.api.patch(page.path, page.patch(found, content))
        except Refused as refused:
            if refused.code in _GONE:
                return
            raise
        self._patience.put(page.name, self.now())
        self._tell(page, found, REVERTED, f"changed back{writer(found)}; put back by the keeper")

    def _lost(self, page: Page, found: Any, content: bytes | None, why: str) -> None:
        """What the keeper does not mend is told once for each text that it finds."""
        if self._told.get(page.name, b"") != content:
            again = ", ".join(f"mirror fix {fix}" for fix in page.fixes)
            self._tell(page, found, LOST, f"{why}; not put back: {again}")
            self._told[page.name] = content

    def _tell(self, page: Page, found: Any, reason: str, what: str) -> None:
        path, body = event(page, found, reason, what, self.now())
        self.say(f"{page.path}: {body['message']}")
        self.api.create(path, body)
