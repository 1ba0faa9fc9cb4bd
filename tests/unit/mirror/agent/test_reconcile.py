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
    place: HostPaths, told: ReconcilerHarness
) -> None:
    apply_and_keep_fix(place)
    assert (told.reconcile(), told.messages) == (WRITTEN, [])
    place.resolve_file(FILE).write_bytes(BASE)
    assert told.reconcile() == WRITTEN
    assert told.reconcile() == WRITTEN
    assert place.resolve_file(FILE).stat().st_mode & 0o777 == 0o600
    assert told.messages == [
        f"FixReverted: fix pod-sysctl: {FILE}: changed back; put back by the node agent"
    ]


def test_what_else_somebody_wrote_stays(place: HostPaths, told: ReconcilerHarness) -> None:
    apply_and_keep_fix(place)
    place.resolve_file(FILE).write_bytes(BASE.replace(b'"0.3.1"', b'"0.3.2"'))
    assert b'"0.3.1"' in BASE
    assert told.reconcile() == WRITTEN.replace(b'"0.3.1"', b'"0.3.2"')


def test_settings_come_back_and_the_loopback_keeps_its_own(
    place: HostPaths, told: ReconcilerHarness
) -> None:
    for key in ("net.ipv6.conf.default.disable_ipv6", sysctls.DISABLE_IPV6_ALL):
        request_write(place, key, b"1\n", request_read(place, key))
    given = [desired_target(place, key, b"0\n", b"1\n") for key in (sysctls.DISABLE_IPV6_ALL,)]
    # one that had the value before the fix: there is nothing under it to merge
    given.append(desired_target(place, "net.ipv6.conf.default.disable_ipv6", b"1\n", b"1\n"))
    assert len(request_keep(place, *given)) == 2
    for name in ("all", "default"):
        (place.net / f"ipv6/conf/{name}/disable_ipv6").write_text("0\n")
    told.reconcile()
    assert (
        read_disable_ipv6(place),
        read_disable_ipv6(place, "default"),
        read_disable_ipv6(place, "lo"),
    ) == ("1\n", "1\n", "0\n")
    assert len(told.messages) == 2


def test_a_file_that_a_fix_made_is_made_again(place: HostPaths, told: ReconcilerHarness) -> None:
    request_write(place, BOOT_FILE, BOOT_TEXT.encode(), request_read(place, BOOT_FILE))
    request_keep(place, desired_target(place, BOOT_FILE, None, BOOT_TEXT.encode()))
    place.resolve_file(BOOT_FILE).unlink()
    told.reconcile()
    assert place.resolve_file(BOOT_FILE).read_text() == BOOT_TEXT


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
    place: HostPaths, told: ReconcilerHarness, content: bytes | None, said: str
) -> None:
    apply_and_keep_fix(place)
    if content is None:
        place.resolve_file(FILE).unlink()
    else:
        assert content not in (BASE, WRITTEN)
        place.resolve_file(FILE).write_bytes(content)
    assert told.reconcile() == content
    assert told.reconcile() == content
    (line,) = told.messages
    assert line.startswith(f"FixLost: fix pod-sysctl: {FILE}: ")
    assert said in line
    assert line.endswith("not put back: mirror fix pod-sysctl")
    place.resolve_file(FILE).write_bytes(BASE)
    assert told.reconcile() == WRITTEN


def test_what_cannot_be_written_is_told_once(
    place: HostPaths, told: ReconcilerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "net.ipv6.conf.default.disable_ipv6"
    request_write(place, key, b"1\n", request_read(place, key))
    request_keep(place, desired_target(place, key, b"0\n", b"1\n"))
    (place.net / "ipv6/conf/default/disable_ipv6").write_text("0\n")

    def readonly(self: Path, text: str) -> int:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", readonly)
        told.reconcile()
        told.reconcile()
    assert ["Read-only" in line and "mirror fix host-sysctl" in line for line in told.messages] == [
        True
    ]
    told.reconcile()
    assert read_disable_ipv6(place, "default") == "1\n"


def test_who_reverts_all_the_time_is_answered_more_and_more_slowly(
    place: HostPaths, told: ReconcilerHarness
) -> None:
    apply_and_keep_fix(place)
    begun = told.clock
    while told.clock - begun < timedelta(hours=1):
        place.resolve_file(FILE).write_bytes(BASE)
        told.reconcile()
        told.clock += timedelta(seconds=15)
    assert 5 <= len(told.messages) <= 12
