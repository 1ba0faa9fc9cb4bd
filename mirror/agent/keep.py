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

from mirror.agent import files, kept, pages
from mirror.agent.alone import alone
from mirror.agent.pages import Page
from mirror.agent.place import Place, Refused
from mirror.core.errors import MirrorError
from mirror.drift import Verdict, decide
from mirror.patience import Patience

MARK = Path("/keeper/nodes")
_BROKEN = (Refused, files.Moved, MirrorError, OSError)


def seen(place: Place, targets: Collection[str]) -> dict[str, Any]:
    """The version of each target that can be read, and which are kept."""
    try:
        there = pages.read(place)
    except Refused:
        there = []
    return {"versions": _versions(place, targets), "keeps": [page.target for page in there]}


def _versions(place: Place, targets: Collection[str]) -> dict[str, str]:
    found = {}
    for target in targets:
        try:
            found[target] = kept.read(place, target).version
        except (Refused, OSError):
            continue
    return found


def store(place: Place, given: Collection[dict[str, Any]], *, orders: bool) -> dict[str, Any]:
    """Keep these from now on, what came by standing order among them, and nothing else.

    One that is not what was ``seen`` before its page was read is left: somebody undid it, maybe.
    What came by order was there when the fix came, so its base is the order's.
    """
    ordered = {one["target"]: one for one in kept.kept(place)} if orders else {}
    versions = _versions(place, [one["target"] for one in given])
    made = []
    for one in given:
        order = ordered.pop(one["target"], None)
        if versions.get(one["target"]) == one["seen"]:
            late = order is not None and one["base"] == one["written"]
            made.append(Page.of(order if order and late else one, one["fixes"]))
    made += [Page.of(order, kept.ORDERED) for order in ordered.values()]
    pages.write(place, made)
    return {"keeps": [page.target for page in made]}


def begin(place: Place, mark: Path = MARK) -> None:
    """When the agent starts: what came by order is kept too, or nothing, as the mark has it."""
    if not mark.exists():
        pages.write(place, [])
        return
    there = pages.read(place)
    known = {page.target for page in there}
    more = [Page.of(one, kept.ORDERED) for one in kept.kept(place) if one["target"] not in known]
    pages.write(place, [*there, *more])


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Keep:
    """``say`` is the log, ``tell`` goes to the cluster."""

    place: Place
    say: Callable[[str], None]
    tell: Callable[[str], None]
    now: Callable[[], datetime] = _now
    mark: Path = MARK
    _marked: bool = False
    _said: str = ""
    _patience: Patience = field(default_factory=Patience)
    _told: dict[str, tuple[str, bytes | None]] = field(default_factory=dict)

    def look(self) -> None:
        """Everything once. What cannot be done is told, and tried at the next look."""
        said = ""
        try:
            with alone(self.place):
                self._marked = self._marked or self.mark.exists()
                if self._marked and not self.mark.exists():
                    pages.write(self.place, [])  # the keeper ended while nobody reached this node
                for page in pages.read(self.place):
                    self._one(page)
        except _BROKEN as broken:
            said = f"FixLost: {broken}"
        if said and said != self._said:
            self.say(said)
            self.tell(said)
        self._said = said

    def _one(self, page: Page) -> None:
        try:
            now = kept.read(self.place, page.target)
            verdict = _verdict(page, now.content)
            if verdict.state == "unclear":
                self._lost(page, verdict.why, now.content)
            elif verdict.state == "fine":
                self._told.pop(page.target, None)
            elif self._patience.due(page.target, self.now()):
                kept.write(self.place, page.target, verdict.content, now.version)
                self._patience.put(page.target, self.now())
                self._tell(page, "FixReverted", "changed back; put back by the node agent")
        except files.Moved:
            return  # somebody wrote it just now: at the next look
        except _BROKEN as broken:
            self._lost(page, str(broken), None)

    def _lost(self, page: Page, why: str, content: bytes | None) -> None:
        """What is not mended is told once for each text that is found."""
        if self._told.get(page.target) != (why, content):
            self._told[page.target] = (why, content)
            again = ", ".join(f"mirror fix {fix}" for fix in page.fixes)
            self._tell(page, "FixLost", f"{why}; not put back: {again}")

    def _tell(self, page: Page, reason: str, what: str) -> None:
        text = f"{reason}: fix {', '.join(page.fixes)}: {page.target}: {what}"
        self.say(text)
        self.tell(text)


def _verdict(page: Page, content: bytes | None) -> Verdict:
    """As for objects of the cluster; but a setting is one value, and a conflist stays JSON."""
    if not page.target.startswith("/"):
        if content is None:
            return Verdict(state="unclear", why="the kernel has no such setting any more")
        same = content == page.written
        return Verdict(state="fine" if same else "reverted", content=page.written or b"")
    made = decide(page.base, page.written, content, spec=False)
    if made.state == "reverted" and _is_json(page.written) and not _is_json(made.content):
        return Verdict(state="unclear", why="it was edited beside what the fix had changed")
    return made


def _is_json(content: bytes | None) -> bool:
    try:
        json.loads(content or b"")
    except ValueError:
        return False
    return True
