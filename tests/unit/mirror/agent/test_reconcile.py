"""What the agent keeps on its node: put back, and told once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from deploy.fixes.host_sysctl import BOOT_FILE, BOOT_TEXT
from mirror.agent import sysctls
from mirror.agent.host_paths import HostPaths
from tests.unit.mirror.agent.agent_client import FILE, request_read, request_write
from tests.unit.mirror.agent.reconciling import (
    BASE,
    WRITTEN,
    ReconcilerHarness,
    apply_and_keep_fix,
    desired_target,
    read_disable_ipv6,
    request_keep,
)


def test_a_file_that_is_written_anew_is_put_back_and_told_once(
    host: HostPaths, reconciler: ReconcilerHarness
) -> None:
    apply_and_keep_fix(host)
    assert (reconciler.reconcile(), reconciler.messages) == (WRITTEN, [])
    host.resolve_file(FILE).write_bytes(BASE)
    assert reconciler.reconcile() == WRITTEN
    assert reconciler.reconcile() == WRITTEN
    assert host.resolve_file(FILE).stat().st_mode & 0o777 == 0o600
    assert reconciler.messages == [
        f"FixReverted: fix pod-sysctl: {FILE}: changed back; put back by the node agent"
    ]


def test_what_else_somebody_wrote_stays(host: HostPaths, reconciler: ReconcilerHarness) -> None:
    apply_and_keep_fix(host)
    host.resolve_file(FILE).write_bytes(BASE.replace(b'"0.3.1"', b'"0.3.2"'))
    assert b'"0.3.1"' in BASE
    assert reconciler.reconcile() == WRITTEN.replace(b'"0.3.1"', b'"0.3.2"')


def test_settings_come_back_and_the_loopback_keeps_its_own(
    host: HostPaths, reconciler: ReconcilerHarness
) -> None:
    for key in ("net.ipv6.conf.default.disable_ipv6", sysctls.DISABLE_IPV6_ALL):
        request_write(host, key, b"1\n", request_read(host, key))
    given = [desired_target(host, key, b"0\n", b"1\n") for key in (sysctls.DISABLE_IPV6_ALL,)]
    # one that had the value before the fix: there is nothing under it to merge
    given.append(desired_target(host, "net.ipv6.conf.default.disable_ipv6", b"1\n", b"1\n"))
    assert len(request_keep(host, *given)) == 2
    for name in ("all", "default"):
        (host.net / f"ipv6/conf/{name}/disable_ipv6").write_text("0\n")
    reconciler.reconcile()
    assert (
        read_disable_ipv6(host),
        read_disable_ipv6(host, "default"),
        read_disable_ipv6(host, "lo"),
    ) == ("1\n", "1\n", "0\n")
    assert len(reconciler.messages) == 2


def test_a_file_that_a_fix_made_is_made_again(
    host: HostPaths, reconciler: ReconcilerHarness
) -> None:
    request_write(host, BOOT_FILE, BOOT_TEXT.encode(), request_read(host, BOOT_FILE))
    request_keep(host, desired_target(host, BOOT_FILE, None, BOOT_TEXT.encode()))
    host.resolve_file(BOOT_FILE).unlink()
    reconciler.reconcile()
    assert host.resolve_file(BOOT_FILE).read_text() == BOOT_TEXT


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
    host: HostPaths, reconciler: ReconcilerHarness, content: bytes | None, said: str
) -> None:
    apply_and_keep_fix(host)
    if content is None:
        host.resolve_file(FILE).unlink()
    else:
        assert content not in (BASE, WRITTEN)
        host.resolve_file(FILE).write_bytes(content)
    assert reconciler.reconcile() == content
    assert reconciler.reconcile() == content
    (line,) = reconciler.messages
    assert line.startswith(f"FixLost: fix pod-sysctl: {FILE}: ")
    assert said in line
    assert line.endswith("not put back: mirror fix pod-sysctl")
    host.resolve_file(FILE).write_bytes(BASE)
    assert reconciler.reconcile() == WRITTEN


def test_what_cannot_be_written_is_told_once(
    host: HostPaths, reconciler: ReconcilerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "net.ipv6.conf.default.disable_ipv6"
    request_write(host, key, b"1\n", request_read(host, key))
    request_keep(host, desired_target(host, key, b"0\n", b"1\n"))
    (host.net / "ipv6/conf/default/disable_ipv6").write_text("0\n")

    def readonly(self: Path, text: str) -> int:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", readonly)
        reconciler.reconcile()
        reconciler.reconcile()
    assert [
        "Read-only" in line and "mirror fix host-sysctl" in line for line in reconciler.messages
    ] == [True]
    reconciler.reconcile()
    assert read_disable_ipv6(host, "default") == "1\n"


def test_who_reverts_all_the_time_is_answered_more_and_more_slowly(
    host: HostPaths, reconciler: ReconcilerHarness
) -> None:
    apply_and_keep_fix(host)
    begun = reconciler.clock
    while reconciler.clock - begun < timedelta(hours=1):
        host.resolve_file(FILE).write_bytes(BASE)
        reconciler.reconcile()
        reconciler.clock += timedelta(seconds=15)
    assert 5 <= len(reconciler.messages) <= 12
