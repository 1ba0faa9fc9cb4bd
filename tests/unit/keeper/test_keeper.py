"""The keeper: what it puts back, what it leaves to `mirror fix`, what it tells."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.changes import ledger
from deploy.changes.model import Applied, ConfigMapKey, Edit, LedgerEntry, ObjectSpec, Target
from deploy.standing import every
from mirror.keeper.api import Refused
from mirror.keeper.decide import decide
from mirror.keeper.event import writer
from mirror.keeper.keep import LEDGER, Keeper
from mirror.keeper.page import Damaged, read
from mirror.merge import canonical

BASE = b"""\
.:53 {
    errors
    forward . /etc/resolv.conf
    cache 30
    reload
}
example.org:53 {
    errors
    forward . 10.0.0.1
}
"""
DNS = Edit(fix="dns", options={"keep_aaaa": [], "forward": [], "prefer_udp": False})
SEARCH = Edit(fix="search-domains", options={"suffixes": ["home.example"], "keep": []})
COREFILE = ConfigMapKey(namespace="kube-system", name="coredns", key="Corefile")
POOL = ObjectSpec(kind="IPPool", name="six")
NAME = ledger.name_of(COREFILE)
PATH = "/api/v1/namespaces/kube-system/configmaps/coredns"


def fixed(text: bytes, *edits: Edit) -> bytes:
    """What the fixes themselves make of it."""
    for one in edits:
        made = every()[one.fix].edit(one, COREFILE, text)
        assert made is not None
        text = made
    return text


WRITTEN = fixed(BASE, SEARCH, DNS)


def put(base: bytes, written: bytes, content: bytes) -> bytes:
    """What the keeper leaves there."""
    told = decide(base, written, content, spec=False)
    assert told.state != "unclear", told.why
    return told.content if told.state == "reverted" else content


# -- deciding -------------------------------------------------------------------------------------


def test_what_was_reverted_is_put_back() -> None:
    assert put(BASE, WRITTEN, BASE) == WRITTEN


def test_one_fix_of_two_is_put_back() -> None:
    assert put(BASE, WRITTEN, fixed(BASE, SEARCH)) == WRITTEN


def test_what_stands_is_left_alone() -> None:
    assert put(BASE, WRITTEN, WRITTEN) == WRITTEN


LINES = [b"errors", b"cache 30", b"reload", b"forward . /etc/resolv.conf", b"forward . 10.0.0.1"]


@given(st.sets(st.sampled_from(LINES)), st.booleans(), st.booleans())
def test_somebodys_other_lines_are_kept(after: set[bytes], top: bool, reverted: bool) -> None:
    """Lines put in behind others, with the fix there and without: what it makes has both."""
    text = BASE if reverted else WRITTEN
    for number, line in enumerate(sorted(after)):
        text = text.replace(line + b"\n", line + b"\n    log %d\n" % number, 1)
    text = b"# mine\n" + text if top else text
    told = decide(BASE, WRITTEN, text, spec=False)
    if not reverted:
        assert told.state == "fine", "what stands is never written"
    elif told.state == "reverted":
        assert told.content == fixed(text, SEARCH, DNS) or _same_lines(told.content, text)
        assert decide(BASE, WRITTEN, told.content, spec=False).state == "fine"
    if b"forward . /etc/resolv.conf" not in after and b"errors" not in after:
        assert told.state == ("reverted" if reverted else "fine")


def _same_lines(made: bytes, text: bytes) -> bool:
    return sorted(made.splitlines()) == sorted(fixed(text, SEARCH, DNS).splitlines())


@pytest.mark.parametrize(
    ("base", "written", "content", "said"),
    [
        (BASE, WRITTEN, None, "gone"),
        (BASE, WRITTEN, WRITTEN.replace(b"rcode NXDOMAIN", b"rcode SERVFAIL"), "edited where"),
        (BASE, WRITTEN, b".:53 {\n    whoami\n}\n", "edited where"),
        (b"{}\n", None, b"{}\n", "there again"),
    ],
)
def test_what_is_unclear_is_left_to_a_person(
    base: bytes, written: bytes | None, content: bytes | None, said: str
) -> None:
    told = decide(base, written, content, spec=False)
    assert (told.state, told.content) == ("unclear", b"")
    assert said in told.why


def test_a_spec_is_put_back_by_its_keys() -> None:
    base = canonical({"cidr": "fd70::/48", "natOutgoing": False})
    written = canonical({"cidr": "fd70::/48", "natOutgoing": False, "disabled": True})
    content = canonical({"cidr": "fd70::/48", "natOutgoing": True})
    told = decide(base, written, content, spec=True)
    assert json.loads(told.content) == {"cidr": "fd70::/48", "natOutgoing": True, "disabled": True}
    assert decide(base, written, told.content, spec=True).state == "fine"


# -- the ledger's pages ---------------------------------------------------------------------------


def page_of(target: Target, base: bytes, written: bytes, **more: Any) -> Any:
    """A page as the engine writes it."""
    edits = (Applied(edit=DNS, step=1, steps=1),)
    entry = LedgerEntry(target=target, base=base, edits=edits, written=written)
    body = ledger._body(LedgerEntry(**{**_fields(entry), **more}))
    body["metadata"]["resourceVersion"] = "1"
    return body


def _fields(entry: LedgerEntry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in entry.__slots__}


def test_a_page_is_read_as_it_was_written() -> None:
    page = read(page_of(COREFILE, BASE, WRITTEN), PATH)
    assert page is not None
    assert (page.base, page.written, page.key, page.fixes) == (BASE, WRITTEN, "Corefile", ("dns",))


@pytest.mark.parametrize("more", [{"pending": True}, {"edits": ()}])
def test_a_page_that_is_being_written_is_passed_over(more: dict[str, Any]) -> None:
    assert read(page_of(COREFILE, BASE, WRITTEN, **more), PATH) is None


def test_an_altered_page_is_damaged() -> None:
    body = page_of(COREFILE, BASE, WRITTEN)
    body["binaryData"]["written"] = body["binaryData"]["base"]
    with pytest.raises(Damaged):
        read(body, PATH)


# -- doing ----------------------------------------------------------------------------------------


class World:
    """Objects by their paths; patches are done as the API server does them."""

    def __init__(self, **objects: Any) -> None:
        self.objects = {PATH: corefile(BASE), f"{LEDGER}/{NAME}": page_of(COREFILE, BASE, WRITTEN)}
        self.events: list[Any] = []
        self.patches: list[Any] = []
        self.refuse = 0

    def get(self, path: str) -> Any:
        return self.objects.get(path)

    def patch(self, path: str, body: Any) -> None:
        if self.refuse:
            raise Refused(self.refuse, "no")
        self.patches.append(body)
        test, change = body
        assert test["value"] == self.objects[path]["metadata"]["resourceVersion"]
        assert change["path"] == "/data/Corefile"
        self.objects[path]["data"]["Corefile"] = change["value"]

    def create(self, path: str, body: Any) -> None:
        assert path == "/api/v1/namespaces/kube-system/events"
        self.events.append(body)

    def revert(self, text: bytes = BASE) -> None:
        self.objects[PATH] = corefile(text)


def corefile(text: bytes) -> Any:
    by = [
        {"manager": "pypi-mirror", "time": "2026-01-01T00:00:00Z"},
        {"manager": "kubectl-edit", "time": "2026-01-02T00:00:00Z"},
    ]
    meta = {"name": "coredns", "uid": "u", "resourceVersion": "7", "managedFields": by}
    return {"metadata": meta, "data": {"Corefile": text.decode(), "other": "x"}}


class Clock:
    def __init__(self) -> None:
        self.at = datetime(2026, 1, 3, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


def keeper(world: World, clock: Clock) -> tuple[Keeper, list[str]]:
    said: list[str] = []
    return Keeper(world, {NAME: PATH}, said.append, clock), said


def test_a_reverted_fix_is_put_back_and_told() -> None:
    world = World()
    keeping, _ = keeper(world, Clock())
    keeping.look()
    assert world.objects[PATH]["data"] == {"Corefile": WRITTEN.decode(), "other": "x"}
    (told,) = world.events
    assert told["reason"] == "FixReverted"
    assert told["involvedObject"] == {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "namespace": "kube-system",
        "name": "coredns",
        "uid": "u",
        "resourceVersion": "7",
    }
    assert "changed back by kubectl-edit at 2026-01-02" in told["message"]
    keeping.look()
    assert len(world.events) == 1


def test_after_a_rollback_nothing_is_put_back() -> None:
    world = World()
    del world.objects[f"{LEDGER}/{NAME}"]
    keeping, said = keeper(world, Clock())
    keeping.look()
    assert (world.patches, world.events, said) == ([], [], [])


def test_who_reverts_all_the_time_is_answered_more_and_more_slowly() -> None:
    world, clock = World(), Clock()
    keeping, _ = keeper(world, clock)
    begun = clock.at
    while clock.at - begun < timedelta(hours=1):
        keeping.look()
        world.revert()
        clock.at += timedelta(seconds=15)
    assert 5 <= len(world.patches) <= 12


def test_what_is_unclear_is_told_once_for_each_text() -> None:
    world = World()
    keeping, _ = keeper(world, Clock())
    for text in (b"x\n", b"x\n", b"y\n"):
        world.revert(text)
        keeping.look()
    assert [one["reason"] for one in world.events] == ["FixLost"] * 2
    assert "mirror fix dns" in world.events[0]["message"]
    assert world.patches == []


def test_an_object_that_is_gone_is_told_and_not_made() -> None:
    world = World()
    del world.objects[PATH]
    keeping, _ = keeper(world, Clock())
    keeping.look()
    keeping.look()
    assert [one["message"] for one in world.events] == [
        "fix dns, key Corefile: it is gone; not put back: mirror fix dns"
    ]


@pytest.mark.parametrize("code", [409, 422, 404])
def test_somebody_who_writes_at_the_same_time_is_looked_at_again(code: int) -> None:
    world = World()
    world.refuse = code
    keeping, said = keeper(world, Clock())
    keeping.look()
    assert (world.events, said) == ([], [])
    world.refuse = 0
    keeping.look()
    assert len(world.events) == 1


def test_what_may_not_be_done_is_said_and_the_rest_goes_on() -> None:
    world = World()
    world.refuse = 403
    keeping, said = keeper(world, Clock())
    keeping.look()
    assert said == [f"{PATH}: 403: no"]


def test_a_damaged_page_is_said_and_nothing_is_written() -> None:
    world = World()
    world.objects[f"{LEDGER}/{NAME}"]["data"]["sha256"] = "0"
    keeping, said = keeper(world, Clock())
    keeping.look()
    assert world.patches == []
    assert "not what was written" in said[0]


def test_nobody_else_is_nobody() -> None:
    assert writer({"metadata": {"managedFields": [{"manager": "pypi-mirror"}]}}) == ""
