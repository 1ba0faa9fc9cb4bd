"""The agent restores what its node's desired state has, and reports each restoration once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from deploy.fixes.host_sysctl import BOOT_TEXT
from mirror.agent import allowlist
from mirror.agent.allowlist import BOOT_FILE
from mirror.agent.host_paths import HostPaths
from tests.unit.mirror.agent.agent_client import FILE, request_read, request_write
from tests.unit.mirror.agent.reconciling import (
    BASE,
    WRITTEN,
    ReconcilerHarness,
    apply_and_keep_fix,
    build_desired_target,
    disable_ipv6_path,
    make_settings_read_only,
    request_keep,
)

ALL, DEFAULT = allowlist.DISABLE_IPV6_ALL, allowlist.DISABLE_IPV6_DEFAULT


def test_restores_a_rewritten_file_and_reports_it_once(
    host: HostPaths, reconciler: ReconcilerHarness
) -> None:
    apply_and_keep_fix(host)
    assert (reconciler.reconcile(), reconciler.messages) == (WRITTEN, [])
    host.resolve_file(FILE).write_bytes(BASE)
    assert reconciler.reconcile() == WRITTEN
    assert reconciler.reconcile() == WRITTEN
    assert host.resolve_file(FILE).stat().st_mode & 0o777 == 0o600
    assert reconciler.messages == [
        f"FixReverted: fix pod-sysctl: {FILE}: reverted; restored by the node agent"
    ]


def test_keeps_other_edits(host: HostPaths, reconciler: ReconcilerHarness) -> None:
    apply_and_keep_fix(host)
    host.resolve_file(FILE).write_bytes(BASE.replace(b'"0.3.1"', b'"0.3.2"'))
    assert b'"0.3.1"' in BASE
    assert reconciler.reconcile() == WRITTEN.replace(b'"0.3.1"', b'"0.3.2"')


def test_restores_settings_but_not_the_loopback(
    host: HostPaths, reconciler: ReconcilerHarness
) -> None:
    for key in (DEFAULT, ALL):
        request_write(host, key, b"1\n", request_read(host, key))
    # `default` had the value before the fix, so there is no change to merge
    desired = [
        build_desired_target(host, ALL, b"0\n", b"1\n"),
        build_desired_target(host, DEFAULT, b"1\n", b"1\n"),
    ]
    assert len(request_keep(host, *desired)) == 2
    for link in ("all", "default"):
        disable_ipv6_path(host, link).write_text("0\n")
    reconciler.reconcile()
    values = [disable_ipv6_path(host, link).read_text() for link in ("all", "default", "lo")]
    assert values == ["1\n", "1\n", "0\n"]
    assert len(reconciler.messages) == 2


def test_creates_a_removed_file_again(host: HostPaths, reconciler: ReconcilerHarness) -> None:
    request_write(host, BOOT_FILE, BOOT_TEXT.encode(), request_read(host, BOOT_FILE))
    request_keep(host, build_desired_target(host, BOOT_FILE, None, BOOT_TEXT.encode()))
    host.resolve_file(BOOT_FILE).unlink()
    reconciler.reconcile()
    assert host.resolve_file(BOOT_FILE).read_text() == BOOT_TEXT


@pytest.mark.parametrize("text", ["", "theirs\n", BOOT_TEXT + "net.ipv4.ip_forward = 1\n"])
def test_overwrites_the_boot_file_which_is_wholly_ours(
    host: HostPaths, reconciler: ReconcilerHarness, text: str
) -> None:
    request_write(host, BOOT_FILE, BOOT_TEXT.encode(), request_read(host, BOOT_FILE))
    request_keep(host, build_desired_target(host, BOOT_FILE, None, BOOT_TEXT.encode()))
    host.resolve_file(BOOT_FILE).write_text(text)
    reconciler.reconcile()
    assert host.resolve_file(BOOT_FILE).read_text() == BOOT_TEXT
    assert ["FixReverted" in message for message in reconciler.messages] == [True]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "it is gone"),
        (WRITTEN.replace(b'"tuning"', b'"turning"'), "edited where"),
        (BASE.replace(b"\n    {\n", b"\n    {{\n", 1), "edited next to what"),
    ],
    ids=["gone", "edited", "not JSON"],
)
def test_leaves_an_unclear_case_and_reports_it_once(
    host: HostPaths, reconciler: ReconcilerHarness, content: bytes | None, reason: str
) -> None:
    apply_and_keep_fix(host)
    if content is None:
        host.resolve_file(FILE).unlink()
    else:
        assert content not in (BASE, WRITTEN)
        host.resolve_file(FILE).write_bytes(content)
    assert reconciler.reconcile() == content
    assert reconciler.reconcile() == content
    (message,) = reconciler.messages
    assert message.startswith(f"FixLost: fix pod-sysctl: {FILE}: ")
    assert reason in message
    assert message.endswith("not restored: run mirror fix pod-sysctl")
    host.resolve_file(FILE).write_bytes(BASE)
    assert reconciler.reconcile() == WRITTEN


def test_reports_a_failing_write_once(
    host: HostPaths, reconciler: ReconcilerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_write(host, DEFAULT, b"1\n", request_read(host, DEFAULT))
    request_keep(host, build_desired_target(host, DEFAULT, b"0\n", b"1\n"))
    disable_ipv6_path(host, "default").write_text("0\n")
    with monkeypatch.context() as read_only:
        make_settings_read_only(read_only)
        reconciler.reconcile()
        reconciler.reconcile()
    (message,) = reconciler.messages
    assert "Read-only" in message
    assert "mirror fix host-sysctl" in message
    reconciler.reconcile()
    assert disable_ipv6_path(host, "default").read_text() == "1\n"


def test_backs_off_while_something_keeps_reverting_a_fix(
    host: HostPaths, reconciler: ReconcilerHarness
) -> None:
    apply_and_keep_fix(host)
    start = reconciler.clock
    while reconciler.clock - start < timedelta(hours=1):
        host.resolve_file(FILE).write_bytes(BASE)
        reconciler.reconcile()
        reconciler.clock += timedelta(seconds=15)
    assert 5 <= len(reconciler.messages) <= 12
