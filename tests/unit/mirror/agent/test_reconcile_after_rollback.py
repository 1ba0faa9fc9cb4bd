"""What was undone is never put back, whatever dies when; and what came by order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.fixes.host_sysctl import BOOT_FILE, BOOT_TEXT
from mirror.agent import desired_state, node_defaults, sysctls
from mirror.agent.__main__ import handle_request
from mirror.agent.host_paths import HostPaths
from mirror.agent.reconcile import initialize_desired_state
from tests.unit.mirror.agent.agent_client import (
    FILE,
    read_tree,
    reconcile_survives_kill_at,
    request_read,
    request_write,
    survives_kill_at,
)
from tests.unit.mirror.agent.reconciling import (
    BASE,
    WRITTEN,
    ReconcilerHarness,
    apply_and_keep_fix,
    desired_target,
    encode,
    read_disable_ipv6,
    request_keep,
)


def test_what_is_undone_is_kept_no_more(place: HostPaths, told: ReconcilerHarness) -> None:
    before = read_tree(place)
    apply_and_keep_fix(place)
    request_write(place, FILE, BASE, request_read(place, FILE))
    assert (told.reconcile(), told.messages) == (BASE, [])
    assert read_tree(place) == before
    assert not (place.root / "etc/pypi-mirror").exists()


def test_what_goes_back_with_all_links_is_kept_no_more_either(
    place: HostPaths, told: ReconcilerHarness
) -> None:
    """The kernel sets `default` when `all` is set; a rollback may die between the two."""
    default = "net.ipv6.conf.default.disable_ipv6"
    for key in (default, sysctls.DISABLE_IPV6_ALL):
        request_write(place, key, b"1\n", request_read(place, key))
    request_keep(
        place,
        *(
            desired_target(place, key, b"0\n", b"1\n")
            for key in (default, sysctls.DISABLE_IPV6_ALL)
        ),
    )
    request_write(
        place, sysctls.DISABLE_IPV6_ALL, b"0\n", request_read(place, sysctls.DISABLE_IPV6_ALL)
    )
    (place.net / "ipv6/conf/default/disable_ipv6").write_text("0\n")
    told.reconcile()
    assert (read_disable_ipv6(place), read_disable_ipv6(place, "default"), told.messages) == (
        "0\n",
        "0\n",
        [],
    )


def test_a_rollback_killed_at_every_write_is_never_undone(
    place: HostPaths, told: ReconcilerHarness
) -> None:
    """Where the base was put back it stays, whatever of the rest came to its end."""
    before, kills, back = read_tree(place), 0, 0
    while True:
        apply_and_keep_fix(place)
        ask = {"do": "write", "target": FILE, "content": encode(BASE), "frame": ""}
        over = survives_kill_at(place, kills, {**ask, "seen": request_read(place, FILE)["version"]})
        found = place.resolve_file(FILE).read_bytes()
        assert told.reconcile() == found
        assert found in (BASE, WRITTEN)
        back += found == BASE
        if over:
            break
        kills += 1
    assert (kills >= 5, back >= 1, told.messages) == (True, True, [])
    assert read_tree(place) == before


def test_orders_released_and_killed_at_every_write_are_never_undone(
    place: HostPaths, tmp_path_factory: pytest.TempPathFactory
) -> None:
    told, before = ReconcilerHarness(place), read_tree(place)
    orders = tmp_path_factory.mktemp("orders") / "orders.json"
    made = [
        {"target": BOOT_FILE, "content": BOOT_TEXT},
        {"target": sysctls.DISABLE_IPV6_ALL, "content": "1\n"},
    ]
    orders.write_text(json.dumps(made))
    kills = 0
    while True:
        node_defaults.apply_defaults(place, orders)
        assert request_keep(place, orders=True) == [BOOT_FILE, sysctls.DISABLE_IPV6_ALL]
        over = survives_kill_at(place, kills, {"do": "release"})
        request_read(place, sysctls.DISABLE_IPV6_ALL)  # finishes what was begun
        found = (place.resolve_file(BOOT_FILE).exists(), read_disable_ipv6(place))
        told.reconcile()
        assert (place.resolve_file(BOOT_FILE).exists(), read_disable_ipv6(place)) == found
        if over:
            break
        kills += 1
    assert (kills >= 8, told.messages) == (True, [])
    assert read_tree(place) == before


def test_the_keeper_killed_at_every_write_leaves_the_old_or_the_new(
    place: HostPaths, told: ReconcilerHarness
) -> None:
    apply_and_keep_fix(place)
    kills = 0
    while True:
        place.resolve_file(FILE).write_bytes(BASE)
        over = reconcile_survives_kill_at(place, kills)
        assert place.resolve_file(FILE).read_bytes() in (BASE, WRITTEN)
        if over:
            break
        kills += 1
    assert kills >= 3
    assert told.reconcile() == WRITTEN
    handle_request(place, {"do": "release", "end": True})
    assert not (place.root / "etc/pypi-mirror").exists()


def test_what_changed_while_its_page_was_read_is_not_kept(
    place: HostPaths, told: ReconcilerHarness
) -> None:
    """Somebody rolled it back in between."""
    apply_and_keep_fix(place)
    late = desired_target(place, FILE, BASE, WRITTEN)
    request_write(place, FILE, BASE, request_read(place, FILE))
    assert request_keep(place, late) == []
    assert told.reconcile() == BASE


# -- what came by order ---------------------------------------------------------------------------


def test_what_came_by_order_before_the_fix_has_the_base_of_the_order(
    place: HostPaths, told: ReconcilerHarness, tmp_path_factory: pytest.TempPathFactory
) -> None:
    orders = tmp_path_factory.mktemp("orders") / "orders.json"
    orders.write_text(json.dumps([{"target": BOOT_FILE, "content": BOOT_TEXT}]))
    node_defaults.apply_defaults(place, orders)
    text_ = BOOT_TEXT.encode()
    assert request_keep(place, desired_target(place, BOOT_FILE, text_, text_), orders=True) == [
        BOOT_FILE
    ]
    place.resolve_file(BOOT_FILE).unlink()
    told.reconcile()
    assert place.resolve_file(BOOT_FILE).read_text() == BOOT_TEXT


def test_a_node_that_joins_keeps_its_orders_where_there_is_a_keeper(
    place: HostPaths, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("orders")
    orders, mark = folder / "orders.json", folder / "nodes"
    orders.write_text(json.dumps([{"target": BOOT_FILE, "content": BOOT_TEXT}]))
    node_defaults.apply_defaults(place, orders)
    initialize_desired_state(place, mark)
    assert desired_state.read(place) == []
    mark.touch()
    initialize_desired_state(place, mark)
    assert [one.target for one in desired_state.read(place)] == [BOOT_FILE]


def test_a_node_that_was_away_when_the_keeper_ended_keeps_nothing(
    place: HostPaths, tmp_path: Path
) -> None:
    """It starts again without the mark; or the mark goes while nobody reaches it."""
    place.resolve_file(FILE).write_bytes(BASE)
    mark = tmp_path / "nodes"
    told = ReconcilerHarness(place, mark)
    apply_and_keep_fix(place)
    place.resolve_file(FILE).write_bytes(BASE)
    assert told.reconcile() == WRITTEN, "told, before the mark has come"
    mark.touch()
    told.reconcile()
    mark.unlink()
    place.resolve_file(FILE).write_bytes(BASE)
    assert told.reconcile() == BASE
    apply_and_keep_fix(place)
    initialize_desired_state(place, mark)
    assert desired_state.read(place) == []
    assert not (place.root / "etc/pypi-mirror").exists()


def test_nothing_is_done_on_the_word_of_an_altered_file(
    place: HostPaths, told: ReconcilerHarness
) -> None:
    apply_and_keep_fix(place)
    held = place.resolve_file("/etc/pypi-mirror/keep")
    held.write_text(held.read_text().replace("pod-sysctl", "host-sysctl"))
    place.resolve_file(FILE).write_bytes(BASE)
    assert told.reconcile() == BASE
    told.reconcile()
    assert ["was altered" in line for line in told.messages] == [True]
    place.resolve_file(FILE).write_bytes(WRITTEN)
    apply_and_keep_fix(place)
    place.resolve_file(FILE).write_bytes(BASE)
    assert told.reconcile() == WRITTEN
