"""The node agent on a folder that stands for a host: exact, atomic, confined, whatever kills it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from mirror.agent import files, kept, sysctls
from mirror.agent.__main__ import answer
from mirror.agent.place import Place, Refused
from tests.unit.agent.asking import FILE, NEW, OLD, killed_at, read, tree, write


def test_a_file_is_replaced_and_put_back_with_its_mode(place: Place) -> None:
    before = tree(place)
    seen = read(place, FILE)
    after = write(place, FILE, NEW, seen)
    path = place.file(FILE)
    assert path.read_bytes() == NEW
    assert path.stat().st_mode & 0o777 == 0o600
    write(place, FILE, base64.b64decode(seen["content"]), after)
    assert tree(place) == before
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_not_there_goes_again(place: Place) -> None:
    before = tree(place)
    target = "/etc/sysctl.d/zz-x.conf"
    made = write(place, target, b"x = 1\n", read(place, target))
    assert read(place, target)["version"] == made["version"]
    write(place, target, None, made)
    assert tree(place) == before


def test_what_somebody_changed_meanwhile_is_left_alone(place: Place) -> None:
    seen = read(place, FILE)
    place.file(FILE).write_bytes(b"theirs")
    assert "moved" in write(place, FILE, NEW, seen)
    assert place.file(FILE).read_bytes() == b"theirs"


def test_a_kill_at_every_write_of_a_file_leaves_the_old_or_the_new(place: Place) -> None:
    before = tree(place)
    seen = read(place, FILE)
    ask = {"do": "write", "target": FILE, "content": base64.b64encode(NEW).decode()}
    ask |= {"seen": seen["version"], "frame": ""}
    kills = 0
    while not killed_at(place, kills, ask):
        kills += 1
        found = place.file(FILE).read_bytes()
        assert found in (OLD, NEW)
        loaded = [p for p in place.file(FILE).parent.iterdir() if p.suffix == ".conflist"]
        assert loaded == [place.file(FILE)]
        if found == NEW:
            write(place, FILE, OLD, read(place, FILE))
    assert kills >= 3
    write(place, FILE, OLD, read(place, FILE))
    assert tree(place) == before


def test_a_kill_at_every_write_of_a_setting_is_finished_by_the_next_question(
    place: Place,
) -> None:
    """The loopback keeps ::1 and nothing is left half, in both directions."""
    before = tree(place)
    kills = 0
    for value, other in ((b"1\n", b"0\n"), (b"0\n", b"1\n")):
        number = 0
        while True:
            seen = read(place, sysctls.ALL)
            ask = {"do": "write", "target": sysctls.ALL, "seen": seen["version"], "frame": ""}
            ask |= {"content": base64.b64encode(value).decode()}
            over = killed_at(place, number, ask)
            now = base64.b64decode(read(place, sysctls.ALL)["content"])
            assert now in (value, other)
            assert (place.net / "ipv6/conf/lo/disable_ipv6").read_text() == "0\n"
            if over:
                break
            number, kills = number + 1, kills + 1
            if now == value:
                write(place, sysctls.ALL, other, read(place, sysctls.ALL))
    assert kills >= 8
    assert tree(place) == before
    assert not (place.root / "etc/pypi-mirror").exists()


def test_a_setting_that_is_missing_or_read_only(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read(place, "net.ipv6.conf.nosuch.disable_ipv6")["content"] is None

    def readonly(self: Path, text: str) -> int:
        raise OSError(30, "Read-only file system")

    seen = read(place, "net.ipv6.conf.default.disable_ipv6")
    monkeypatch.setattr(Path, "write_text", readonly)
    told = write(place, "net.ipv6.conf.default.disable_ipv6", b"1\n", seen)
    assert "net.ipv6.conf.default.disable_ipv6 cannot be set: Read-only" in told["refused"]


@pytest.mark.parametrize(
    "target",
    [
        "/etc/../root/x",
        "/root/x",
        "/etc",
        "etc/x",
        "/opt/cni/binx/y",
        "net.ipv6.conf.all/../x.y",
        "kernel.panic",
        "net..x",
    ],
)
def test_nothing_else_of_the_host_is_touched(place: Place, target: str) -> None:
    assert "refused" in read(place, target)


def test_symbolic_links_lead_nowhere(place: Place, tmp_path: Path) -> None:
    outside = tmp_path.parent / "outside"
    outside.mkdir(exist_ok=True)
    (place.root / "etc/away").symlink_to(outside)
    (place.root / "etc/sysctl.conf").symlink_to("/etc/passwd")
    with pytest.raises(Refused, match="leads out"):
        place.file("/etc/away/x")
    assert "refused" in read(place, "/etc/sysctl.conf")


def orders(tmp_path: Path) -> Path:
    path = tmp_path / "orders.json"
    made = [
        {"target": "/etc/sysctl.d/zz.conf", "content": "x\n"},
        {"target": "net.ipv6.conf.default.disable_ipv6", "content": "1\n"},
        {"target": sysctls.ALL, "content": "1\n"},
        {"target": "net.ipv6.conf.nosuch.disable_ipv6", "content": "1\n"},
    ]
    path.write_text(json.dumps(made))
    return path


def test_orders_are_followed_once_and_undone(
    place: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = tree(place)
    given = orders(tmp_path_factory.mktemp("orders"))
    assert len(kept.follow(place, given)) == 3
    assert kept.follow(place, given) == []
    assert answer(place, {"do": "look"})["kept"] == sorted(
        ["/etc/sysctl.d/zz.conf", "net.ipv6.conf.default.disable_ipv6", sysctls.ALL]
    )
    assert (place.net / "ipv6/conf/all/disable_ipv6").read_text() == "1\n"
    assert answer(place, {"do": "release"}) == {"failed": []}
    assert tree(place) == before
    assert not (place.root / "etc/pypi-mirror").exists()


def test_orders_that_were_withdrawn_meanwhile_are_undone_at_the_start(
    place: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = tree(place)
    given = orders(tmp_path_factory.mktemp("orders"))
    kept.follow(place, given)
    given.unlink()
    assert kept.follow(place, given) == []
    assert tree(place) == before


def test_an_edit_since_is_not_undone_but_named(
    place: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kept.follow(place, orders(tmp_path_factory.mktemp("orders")))
    place.file("/etc/sysctl.d/zz.conf").write_text("theirs\n")
    told = answer(place, {"do": "release"})
    assert told["failed"] == ["/etc/sysctl.d/zz.conf: edited since, left as it is"]
    assert place.file("/etc/sysctl.d/zz.conf").read_text() == "theirs\n"


def test_a_big_file_or_a_folder_is_refused(place: Place) -> None:
    place.file("/etc/big").write_bytes(bytes(2 << 20))
    for target in ("/etc/big", "/etc/cni"):
        with pytest.raises(Refused):
            files.read(place.file(target))
