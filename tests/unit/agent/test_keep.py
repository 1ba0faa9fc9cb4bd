"""What the agent keeps on its node: put back, and told once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from deploy.fixes.host_sysctl import BOOT_FILE, BOOT_TEXT
from mirror.agent import sysctls
from mirror.agent.place import Place
from tests.unit.agent.asking import FILE, read, write
from tests.unit.agent.keeping import BASE, WRITTEN, Told, fixed, keep, off, page


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
        (place.net / f"ipv6/conf/{name}/disable_ipv6").write_text("0\n")
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
    (place.net / "ipv6/conf/default/disable_ipv6").write_text("0\n")

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
