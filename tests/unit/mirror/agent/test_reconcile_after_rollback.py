"""The agent never restores what was rolled back, whatever is killed when; and node defaults."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.fixes.host_sysctl import BOOT_TEXT
from mirror.agent import allowlist, desired_state, node_defaults
from mirror.agent.__main__ import handle_request
from mirror.agent.allowlist import BOOT_FILE
from mirror.agent.host_paths import HostPaths
from mirror.agent.reconcile import initialize_desired_state
from tests.unit.mirror.agent.agent_client import (
    FILE,
    build_write_request,
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
    build_desired_target,
    disable_ipv6_path,
    needs_root,
    request_keep,
    write_defaults_file,
)

ALL, DEFAULT = allowlist.DISABLE_IPV6_ALL, allowlist.DISABLE_IPV6_DEFAULT


@pytest.fixture
def boot_default(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Node defaults with the boot file alone."""
    return write_defaults_file(tmp_path_factory.mktemp("orders"), {BOOT_FILE: BOOT_TEXT})


def test_does_not_restore_a_reverted_file(host: HostPaths, reconciler: ReconcilerHarness) -> None:
    before = read_tree(host)
    apply_and_keep_fix(host)
    request_write(host, FILE, BASE, request_read(host, FILE))
    assert (reconciler.reconcile(), reconciler.messages) == (BASE, [])
    assert read_tree(host) == before
    assert not (host.root / "etc/pypi-mirror").exists()


def test_does_not_restore_a_setting_that_was_reverted_with_all_links(
    host: HostPaths, reconciler: ReconcilerHarness
) -> None:
    """The kernel sets `default` together with `all`; a rollback may die between the two."""
    for key in (DEFAULT, ALL):
        request_write(host, key, b"1\n", request_read(host, key))
    targets = [build_desired_target(host, key, b"0\n", b"1\n") for key in (DEFAULT, ALL)]
    request_keep(host, *targets)
    request_write(host, ALL, b"0\n", request_read(host, ALL))
    disable_ipv6_path(host, "default").write_text("0\n")
    reconciler.reconcile()
    values = [disable_ipv6_path(host, link).read_text() for link in ("all", "default")]
    assert (values, reconciler.messages) == (["0\n", "0\n"], [])


def test_does_not_restore_after_a_rollback_that_was_killed_at_any_change(
    host: HostPaths, reconciler: ReconcilerHarness
) -> None:
    """The base stays once it is written, however far the rest of the rollback got."""
    before, kills, reverted = read_tree(host), 0, 0
    while True:
        apply_and_keep_fix(host)
        request = build_write_request(FILE, BASE, request_read(host, FILE)["version"])
        survived = survives_kill_at(host, kills, request)
        content = host.resolve_file(FILE).read_bytes()
        assert reconciler.reconcile() == content
        assert content in (BASE, WRITTEN)
        reverted += content == BASE
        if survived:
            break
        kills += 1
    assert (kills >= 5, reverted >= 1, reconciler.messages) == (True, True, [])
    assert read_tree(host) == before


@needs_root
def test_does_not_restore_defaults_after_a_release_that_was_killed_at_any_change(
    host: HostPaths, tmp_path_factory: pytest.TempPathFactory
) -> None:
    reconciler, before = ReconcilerHarness(host), read_tree(host)
    folder = tmp_path_factory.mktemp("orders")
    defaults_file = write_defaults_file(folder, {BOOT_FILE: BOOT_TEXT, ALL: "1\n"})
    kills = 0
    while True:
        node_defaults.apply_defaults(host, defaults_file)
        assert request_keep(host, include_defaults=True) == [BOOT_FILE, ALL]
        survived = survives_kill_at(host, kills, {"do": "release"})
        request_read(host, ALL)  # finishes an interrupted write
        state = (host.resolve_file(BOOT_FILE).exists(), disable_ipv6_path(host).read_text())
        reconciler.reconcile()
        after = (host.resolve_file(BOOT_FILE).exists(), disable_ipv6_path(host).read_text())
        assert after == state
        if survived:
            break
        kills += 1
    assert (kills >= 8, reconciler.messages) == (True, [])
    assert read_tree(host) == before


def test_a_reconciliation_killed_at_any_change_leaves_the_old_or_the_new(
    host: HostPaths, reconciler: ReconcilerHarness
) -> None:
    apply_and_keep_fix(host)
    kills = 0
    while True:
        host.resolve_file(FILE).write_bytes(BASE)
        survived = reconcile_survives_kill_at(host, kills)
        assert host.resolve_file(FILE).read_bytes() in (BASE, WRITTEN)
        if survived:
            break
        kills += 1
    assert kills >= 3
    assert reconciler.reconcile() == WRITTEN
    handle_request(host, {"do": "release", "end": True})
    assert not (host.root / "etc/pypi-mirror").exists()


def test_does_not_keep_a_target_that_changed_while_its_entry_was_read(
    host: HostPaths, reconciler: ReconcilerHarness
) -> None:
    """It was rolled back in between."""
    apply_and_keep_fix(host)
    outdated = build_desired_target(host, FILE, BASE, WRITTEN)
    request_write(host, FILE, BASE, request_read(host, FILE))
    assert request_keep(host, outdated) == []
    assert reconciler.reconcile() == BASE


# -- node defaults --------------------------------------------------------------------------------


def test_uses_the_base_of_a_default_that_was_written_before_the_fix(
    host: HostPaths, reconciler: ReconcilerHarness, boot_default: Path
) -> None:
    node_defaults.apply_defaults(host, boot_default)
    content = BOOT_TEXT.encode()
    desired = build_desired_target(host, BOOT_FILE, content, content)
    assert request_keep(host, desired, include_defaults=True) == [BOOT_FILE]
    host.resolve_file(BOOT_FILE).unlink()
    reconciler.reconcile()
    assert host.resolve_file(BOOT_FILE).read_text() == BOOT_TEXT


def test_a_joining_node_keeps_its_defaults_if_there_is_a_reconciler(
    host: HostPaths, boot_default: Path
) -> None:
    marker = boot_default.parent / "nodes"
    node_defaults.apply_defaults(host, boot_default)
    initialize_desired_state(host, marker)
    assert desired_state.read(host) == []
    marker.touch()
    initialize_desired_state(host, marker)
    assert [target.target for target in desired_state.read(host)] == [BOOT_FILE]


def test_a_node_that_was_down_when_the_reconciler_ended_keeps_nothing(
    host: HostPaths, tmp_path: Path
) -> None:
    """The agent starts without the marker; or the marker disappears while it runs."""
    host.resolve_file(FILE).write_bytes(BASE)
    marker = tmp_path / "nodes"
    reconciler = ReconcilerHarness(host, marker)
    apply_and_keep_fix(host)
    host.resolve_file(FILE).write_bytes(BASE)
    assert reconciler.reconcile() == WRITTEN, "restores before the marker is mounted"
    marker.touch()
    reconciler.reconcile()
    marker.unlink()
    host.resolve_file(FILE).write_bytes(BASE)
    assert reconciler.reconcile() == BASE
    apply_and_keep_fix(host)
    initialize_desired_state(host, marker)
    assert desired_state.read(host) == []
    assert not (host.root / "etc/pypi-mirror").exists()


def test_restores_nothing_from_an_altered_file(
    host: HostPaths, reconciler: ReconcilerHarness
) -> None:
    apply_and_keep_fix(host)
    state_file = host.resolve_file("/etc/pypi-mirror/keep")
    state_file.write_text(state_file.read_text().replace("pod-sysctl", "host-sysctl"))
    host.resolve_file(FILE).write_bytes(BASE)
    assert reconciler.reconcile() == BASE
    reconciler.reconcile()
    assert ["was altered" in message for message in reconciler.messages] == [True]
    host.resolve_file(FILE).write_bytes(WRITTEN)
    apply_and_keep_fix(host)
    host.resolve_file(FILE).write_bytes(BASE)
    assert reconciler.reconcile() == WRITTEN
