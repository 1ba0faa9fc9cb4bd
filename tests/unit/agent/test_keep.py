"""What the agent keeps on its node: put back, told once, and never against a rollback."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deploy.fixes.host_sysctl import BOOT_FILE, BOOT_TEXT
from deploy.formats.conflist import turn_ipv6_off
from mirror.agent import kept, pages, sysctls
from mirror.agent.__main__ import answer
from mirror.agent.keep import Keep, begin
from mirror.agent.place import Place
from tests.cluster.calico.objects import CONFIG
from tests.cluster.node_field import on_the_node
from tests.unit.agent.asking import FILE, killed_at, killed_look, read, tree, write

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


@pytest.fixture
def told(place: Place) -> Told:
    place.file(FILE).write_bytes(BASE)
    return Told(place)


def off(place: Place, name: str = "all") -> str:
    return (place.root / f"net/ipv6/conf/{name}/disable_ipv6").read_text()


# -- putting back ---------------------------------------------------------------------------------


def test_a_file_that_is_written_anew_is_put_back_and_told_once(place: Place, told: Told) -> None:
    fixed(place)
    assert (told.look(), told.texts) == (WRITTEN, [])
    place.file(FILE).write_bytes(BASE)
    assert told.look() == WRITTEN
    assert told.look() == WRITTEN
    assert place.file(FILE).stat().st_mode & 0o777 == 0o600
    assert told.texts == [
        f"FixReverted: fix pod-sysctl: {FILE}: changed back; put back by the node agent"
    ]


def test_what_else_somebody_wrote_stays(place: Place, told: Told) -> None:
    fixed(place)
    place.file(FILE).write_bytes(BASE.replace(b'"0.3.1"', b'"0.3.2"'))
    assert b'"0.3.1"' in BASE
    assert told.look() == WRITTEN.replace(b'"0.3.1"', b'"0.3.2"')


def test_settings_come_back_and_the_loopback_keeps_its_own(place: Place, told: Told) -> None:
    for key in ("net.ipv6.conf.default.disable_ipv6", sysctls.ALL):
        write(place, key, b"1\n", read(place, key))
    given = [page(place, key, b"0\n", b"1\n") for key in (sysctls.ALL,)]
    # one that had the value before the fix: there is nothing under it to merge
    given.append(page(place, "net.ipv6.conf.default.disable_ipv6", b"1\n", b"1\n"))
    assert len(keep(place, *given)) == 2
    for name in ("all", "default"):
        (place.root / f"net/ipv6/conf/{name}/disable_ipv6").write_text("0\n")
    told.look()
    assert (off(place), off(place, "default"), off(place, "lo")) == ("1\n", "1\n", "0\n")
    assert len(told.texts) == 2


def test_a_file_that_a_fix_made_is_made_again(place: Place, told: Told) -> None:
    write(place, BOOT_FILE, BOOT_TEXT.encode(), read(place, BOOT_FILE))
    keep(place, page(place, BOOT_FILE, None, BOOT_TEXT.encode()))
    place.file(BOOT_FILE).unlink()
    told.look()
    assert place.file(BOOT_FILE).read_text() == BOOT_TEXT


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "it is gone"),
        (WRITTEN.replace(b'"tuning"', b'"turning"'), "edited where"),
        (BASE.replace(b"\n    {\n", b"\n    {{\n", 1), "beside what"),
    ],
    ids=["gone", "edited", "no JSON"],
)
def test_what_is_unclear_is_left_and_told_once(
    place: Place, told: Told, content: bytes | None, said: str
) -> None:
    fixed(place)
    if content is None:
        place.file(FILE).unlink()
    else:
        assert content not in (BASE, WRITTEN)
        place.file(FILE).write_bytes(content)
    assert told.look() == content
    assert told.look() == content
    (line,) = told.texts
    assert line.startswith(f"FixLost: fix pod-sysctl: {FILE}: ")
    assert said in line
    assert line.endswith("not put back: mirror fix pod-sysctl")
    place.file(FILE).write_bytes(BASE)
    assert told.look() == WRITTEN


def test_what_cannot_be_written_is_told_once(
    place: Place, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "net.ipv6.conf.default.disable_ipv6"
    write(place, key, b"1\n", read(place, key))
    keep(place, page(place, key, b"0\n", b"1\n"))
    (place.root / "net/ipv6/conf/default/disable_ipv6").write_text("0\n")

    def readonly(self: Path, text: str) -> int:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", readonly)
        told.look()
        told.look()
    assert ["Read-only" in line and "mirror fix host-sysctl" in line for line in told.texts] == [
        True
    ]
    told.look()
    assert off(place, "default") == "1\n"


def test_who_reverts_all_the_time_is_answered_more_and_more_slowly(
    place: Place, told: Told
) -> None:
    fixed(place)
    begun = told.at
    while told.at - begun < timedelta(hours=1):
        place.file(FILE).write_bytes(BASE)
        told.look()
        told.at += timedelta(seconds=15)
    assert 5 <= len(told.texts) <= 12


# -- never against a rollback ---------------------------------------------------------------------


def test_what_is_undone_is_kept_no_more(place: Place, told: Told) -> None:
    before = tree(place)
    fixed(place)
    write(place, FILE, BASE, read(place, FILE))
    assert (told.look(), told.texts) == (BASE, [])
    assert tree(place) == before
    assert not (place.root / "etc/pypi-mirror").exists()


def test_a_rollback_killed_at_every_write_is_never_undone(place: Place, told: Told) -> None:
    """Where the base was put back it stays, whatever of the rest came to its end."""
    before, kills, back = tree(place), 0, 0
    while True:
        fixed(place)
        ask = {"do": "write", "target": FILE, "content": text(BASE), "frame": ""}
        over = killed_at(place, kills, {**ask, "seen": read(place, FILE)["version"]})
        found = place.file(FILE).read_bytes()
        assert told.look() == found
        assert found in (BASE, WRITTEN)
        back += found == BASE
        if over:
            break
        kills += 1
    assert (kills >= 5, back >= 1, told.texts) == (True, True, [])
    assert tree(place) == before


def test_orders_released_and_killed_at_every_write_are_never_undone(
    place: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    told, before = Told(place), tree(place)
    orders = tmp_path_factory.mktemp("orders") / "orders.json"
    made = [{"target": BOOT_FILE, "content": BOOT_TEXT}, {"target": sysctls.ALL, "content": "1\n"}]
    orders.write_text(json.dumps(made))
    kills = 0
    while True:
        kept.follow(place, orders)
        assert keep(place, orders=True) == [BOOT_FILE, sysctls.ALL]
        over = killed_at(place, kills, {"do": "release"})
        read(place, sysctls.ALL)  # finishes what was begun
        found = (place.file(BOOT_FILE).exists(), off(place))
        told.look()
        assert (place.file(BOOT_FILE).exists(), off(place)) == found
        if over:
            break
        kills += 1
    assert (kills >= 8, told.texts) == (True, [])
    assert tree(place) == before


def test_the_keeper_killed_at_every_write_leaves_the_old_or_the_new(
    place: Place, told: Told
) -> None:
    fixed(place)
    kills = 0
    while True:
        place.file(FILE).write_bytes(BASE)
        over = killed_look(place, kills)
        assert place.file(FILE).read_bytes() in (BASE, WRITTEN)
        if over:
            break
        kills += 1
    assert kills >= 3
    assert told.look() == WRITTEN
    answer(place, {"do": "release", "end": True})
    assert not (place.root / "etc/pypi-mirror").exists()


def test_what_changed_while_its_page_was_read_is_not_kept(place: Place, told: Told) -> None:
    """Somebody rolled it back in between."""
    fixed(place)
    late = page(place, FILE, BASE, WRITTEN)
    write(place, FILE, BASE, read(place, FILE))
    assert keep(place, late) == []
    assert told.look() == BASE


# -- what came by order ---------------------------------------------------------------------------


def test_what_came_by_order_before_the_fix_has_the_base_of_the_order(
    place: Place, told: Told, tmp_path_factory: pytest.TempPathFactory
) -> None:
    orders = tmp_path_factory.mktemp("orders") / "orders.json"
    orders.write_text(json.dumps([{"target": BOOT_FILE, "content": BOOT_TEXT}]))
    kept.follow(place, orders)
    text_ = BOOT_TEXT.encode()
    assert keep(place, page(place, BOOT_FILE, text_, text_), orders=True) == [BOOT_FILE]
    place.file(BOOT_FILE).unlink()
    told.look()
    assert place.file(BOOT_FILE).read_text() == BOOT_TEXT


def test_a_node_that_joins_keeps_its_orders_where_there_is_a_keeper(
    place: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("orders")
    orders, mark = folder / "orders.json", folder / "nodes"
    orders.write_text(json.dumps([{"target": BOOT_FILE, "content": BOOT_TEXT}]))
    kept.follow(place, orders)
    begin(place, mark)
    assert pages.read(place) == []
    mark.touch()
    begin(place, mark)
    assert [one.target for one in pages.read(place)] == [BOOT_FILE]


def test_a_node_that_was_away_when_the_keeper_ended_keeps_nothing(
    place: Place, tmp_path: Path
) -> None:
    """It starts again without the mark; or the mark goes while nobody reaches it."""
    place.file(FILE).write_bytes(BASE)
    mark = tmp_path / "nodes"
    told = Told(place, mark)
    fixed(place)
    place.file(FILE).write_bytes(BASE)
    assert told.look() == WRITTEN, "told, before the mark has come"
    mark.touch()
    told.look()
    mark.unlink()
    place.file(FILE).write_bytes(BASE)
    assert told.look() == BASE
    fixed(place)
    begin(place, mark)
    assert pages.read(place) == []
    assert not (place.root / "etc/pypi-mirror").exists()


def test_nothing_is_done_on_the_word_of_an_altered_file(place: Place, told: Told) -> None:
    fixed(place)
    held = place.file("/etc/pypi-mirror/keep")
    held.write_text(held.read_text().replace("pod-sysctl", "host-sysctl"))
    place.file(FILE).write_bytes(BASE)
    assert told.look() == BASE
    told.look()
    assert ["was altered" in line for line in told.texts] == [True]
    place.file(FILE).write_bytes(WRITTEN)
    fixed(place)
    place.file(FILE).write_bytes(BASE)
    assert told.look() == WRITTEN
