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


def test_what_is_undone_is_kept_no_more(host: HostPaths, reconciler: ReconcilerHarness) -> None:
    before = read_tree(host)
    apply_and_keep_fix(host)
    request_write(host, FILE, BASE, request_read(host, FILE))
    assert (reconciler.reconcile(), reconciler.messages) == (BASE, [])
    assert read_tree(host) == before
    assert not (host.root / "etc/pypi-mirror").exists()


def test_what_goes_back_with_all_links_is_kept_no_more_either(
    host: HostPaths, reconciler: ReconcilerHarness
) -> None:
    """The kernel sets `default` when `all` is set; a rollback may die between the two."""
    default = "net.ipv6.conf.default.disable_ipv6"
    for key in (default, sysctls.DISABLE_IPV6_ALL):
        request_write(host, key, b"1\n", request_read(host, key))
    request_keep(
        host,
        *(desired_target(host, key, b"0\n", b"1\n") for key in (default, sysctls.DISABLE_IPV6_ALL)),
    )
    request_write(
        host, sysctls.DISABLE_IPV6_ALL, b"0\n", request_read(host, sysctls.DISABLE_IPV6_ALL)
    )
    (host.net / "ipv6/conf/default/disable_ipv6").write_text("0\n")
    reconciler.reconcile()
    assert (read_disable_ipv6(host), read_disable_ipv6(host, "default"), reconciler.messages) == (
        "0\n",
        "0\n",
        [],
    )


def test_a_rollback_killed_at_every_write_is_never_undone(
    host: HostPaths, reconciler: ReconcilerHarness
) -> None:
    """Where the base was put back it stays, whatever of the rest came to its end."""
    before, kills, back = read_tree(host), 0, 0
    while True:
        apply_and_keep_fix(host)
        ask = {"do": "write", "target": FILE, "content": encode(BASE), "frame": ""}
        over = survives_kill_at(host, kills, {**ask, "seen": request_read(host, FILE)["version"]})
        found = host.resolve_file(FILE).read_bytes()
        assert reconciler.reconcile() == found
        assert found in (BASE, WRITTEN)
        back += found == BASE
        if over:
            break
        kills += 1
    assert (kills >= 5, back >= 1, reconciler.messages) == (True, True, [])
    assert read_tree(host) == before


def test_orders_released_and_killed_at_every_write_are_never_undone(
    host: HostPaths, tmp_path_factory: pytest.TempPathFactory
) -> None:
    reconciler, before = ReconcilerHarness(host), read_tree(host)
    orders = tmp_path_factory.mktemp("orders") / "orders.json"
    made = [
        {"target": BOOT_FILE, "content": BOOT_TEXT},
        {"target": sysctls.DISABLE_IPV6_ALL, "content": "1\n"},
    ]
    orders.write_text(json.dumps(made))
    kills = 0
    while True:
        node_defaults.apply_defaults(host, orders)
        assert request_keep(host, orders=True) == [BOOT_FILE, sysctls.DISABLE_IPV6_ALL]
        over = survives_kill_at(host, kills, {"do": "release"})
        request_read(host, sysctls.DISABLE_IPV6_ALL)  # finishes what was begun
        found = (host.resolve_file(BOOT_FILE).exists(), read_disable_ipv6(host))
        reconciler.reconcile()
        assert (host.resolve_file(BOOT_FILE).exists(), read_disable_ipv6(host)) == found
        if over:
            break
        kills += 1
    assert (kills >= 8, reconciler.messages) == (True, [])
    assert read_tree(host) == before


def test_the_keeper_killed_at_every_write_leaves_the_old_or_the_new(
    host: HostPaths, reconciler: ReconcilerHarness
) -> None:
    apply_and_keep_fix(host)
    kills = 0
    while True:
        host.resolve_file(FILE).write_bytes(BASE)
        over = reconcile_survives_kill_at(host, kills)
        assert host.resolve_file(FILE).read_bytes() in (BASE, WRITTEN)
        if over:
            break
        kills += 1
    assert kills >= 3
    assert reconciler.reconcile() == WRITTEN
    handle_request(host, {"do": "release", "end": True})
    assert not (host.root / "etc/pypi-mirror").exists()


def test_what_changed_while_its_page_was_read_is_not_kept(
    host: HostPaths, reconciler: ReconcilerHarness
) -> None:
    """Somebody rolled it back in between."""
    apply_and_keep_fix(host)
    late = desired_target(host, FILE, BASE, WRITTEN)
    request_write(host, FILE, BASE, request_read(host, FILE))
    assert request_keep(host, late) == []
    assert reconciler.reconcile() == BASE


# -- what came by order ---------------------------------------------------------------------------


def test_what_came_by_order_before_the_fix_has_the_base_of_the_order(
    host: HostPaths, reconciler: ReconcilerHarness, tmp_path_factory: pytest.TempPathFactory
) -> None:
    orders = tmp_path_factory.mktemp("orders") / "orders.json"
    orders.write_text(json.dumps([{"target": BOOT_FILE, "content": BOOT_TEXT}]))
    node_defaults.apply_defaults(host, orders)
    text_ = BOOT_TEXT.encode()
    assert request_keep(host, desired_target(host, BOOT_FILE, text_, text_), orders=True) == [
        BOOT_FILE
    ]
    host.resolve_file(BOOT_FILE).unlink()
    reconciler.reconcile()
    assert host.resolve_file(BOOT_FILE).read_text() == BOOT_TEXT


def test_a_node_that_joins_keeps_its_orders_where_there_is_a_keeper(
    host: HostPaths, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("orders")
    orders, mark = folder / "orders.json", folder / "nodes"
    orders.write_text(json.dumps([{"target": BOOT_FILE, "content": BOOT_TEXT}]))
    node_defaults.apply_defaults(host, orders)
    initialize_desired_state(host, mark)
    assert desired_state.read(host) == []
    mark.touch()
    initialize_desired_state(host, mark)
    assert [one.target for one in desired_state.read(host)] == [BOOT_FILE]


def test_a_node_that_was_away_when_the_keeper_ended_keeps_nothing(
    host: HostPaths, tmp_path: Path
) -> None:
    """It starts again without the mark; or the mark goes while nobody reaches it."""
    host.resolve_file(FILE).write_bytes(BASE)
    mark = tmp_path / "nodes"
    reconciler = ReconcilerHarness(host, mark)
    apply_and_keep_fix(host)
    host.resolve_file(FILE).write_bytes(BASE)
    assert reconciler.reconcile() == WRITTEN, "told, before the mark has come"
    mark.touch()
    reconciler.reconcile()
    mark.unlink()
    host.resolve_file(FILE).write_bytes(BASE)
    assert reconciler.reconcile() == BASE
    apply_and_keep_fix(host)
    initialize_desired_state(host, mark)
    assert desired_state.read(host) == []
    assert not (host.root / "etc/pypi-mirror").exists()


def test_nothing_is_done_on_the_word_of_an_altered_file(
    host: HostPaths, reconciler: ReconcilerHarness
) -> None:
    apply_and_keep_fix(host)
    held = host.resolve_file("/etc/pypi-mirror/keep")
    held.write_text(held.read_text().replace("pod-sysctl", "host-sysctl"))
    host.resolve_file(FILE).write_bytes(BASE)
    assert reconciler.reconcile() == BASE
    reconciler.reconcile()
    assert ["was altered" in line for line in reconciler.messages] == [True]
    host.resolve_file(FILE).write_bytes(WRITTEN)
    apply_and_keep_fix(host)
    host.resolve_file(FILE).write_bytes(BASE)
    assert reconciler.reconcile() == WRITTEN
