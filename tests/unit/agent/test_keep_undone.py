"""What was undone is never put back, whatever dies when; and what came by order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.fixes.host_sysctl import BOOT_FILE, BOOT_TEXT
from mirror.agent import kept, pages, sysctls
from mirror.agent.__main__ import answer
from mirror.agent.keep import begin
from mirror.agent.place import Place
from tests.unit.agent.asking import FILE, killed_at, killed_look, read, tree, write
from tests.unit.agent.keeping import BASE, WRITTEN, Told, fixed, keep, off, page, text


def test_what_is_undone_is_kept_no_more(place: Place, told: Told) -> None:
    before = tree(place)
    fixed(place)
    write(place, FILE, BASE, read(place, FILE))
    assert (told.look(), told.texts) == (BASE, [])
    assert tree(place) == before
    assert not (place.root / "etc/pypi-mirror").exists()


def test_what_goes_back_with_all_links_is_kept_no_more_either(place: Place, told: Told) -> None:
    """The kernel sets `default` when `all` is set; a rollback may die between the two."""
    default = "net.ipv6.conf.default.disable_ipv6"
    for key in (default, sysctls.ALL):
        write(place, key, b"1\n", read(place, key))
    keep(place, *(page(place, key, b"0\n", b"1\n") for key in (default, sysctls.ALL)))
    write(place, sysctls.ALL, b"0\n", read(place, sysctls.ALL))
    (place.net / "ipv6/conf/default/disable_ipv6").write_text("0\n")
    told.look()
    assert (off(place), off(place, "default"), told.texts) == ("0\n", "0\n", [])


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
