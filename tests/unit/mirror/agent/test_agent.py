"""The node agent on a folder that stands for a host: exact, atomic, confined, whatever kills it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from mirror.agent import files, node_defaults, sysctls
from mirror.agent.__main__ import handle_request
from mirror.agent.host_paths import HostPaths, TargetError
from tests.unit.mirror.agent.agent_client import (
    FILE,
    NEW,
    OLD,
    read_tree,
    request_read,
    request_write,
    survives_kill_at,
)


def test_a_file_is_replaced_and_put_back_with_its_mode(host: HostPaths) -> None:
    before = read_tree(host)
    seen = request_read(host, FILE)
    after = request_write(host, FILE, NEW, seen)
    path = host.resolve_file(FILE)
    assert path.read_bytes() == NEW
    assert path.stat().st_mode & 0o777 == 0o600
    request_write(host, FILE, base64.b64decode(seen["content"]), after)
    assert read_tree(host) == before
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_not_there_goes_again(host: HostPaths) -> None:
    before = read_tree(host)
    target = "/etc/sysctl.d/zz-x.conf"
    made = request_write(host, target, b"x = 1\n", request_read(host, target))
    assert request_read(host, target)["version"] == made["version"]
    request_write(host, target, None, made)
    assert read_tree(host) == before


def test_what_somebody_changed_meanwhile_is_left_alone(host: HostPaths) -> None:
    seen = request_read(host, FILE)
    host.resolve_file(FILE).write_bytes(b"theirs")
    assert "moved" in request_write(host, FILE, NEW, seen)
    assert host.resolve_file(FILE).read_bytes() == b"theirs"


def test_a_kill_at_every_write_of_a_file_leaves_the_old_or_the_new(host: HostPaths) -> None:
    before = read_tree(host)
    seen = request_read(host, FILE)
    ask = {"do": "write", "target": FILE, "content": base64.b64encode(NEW).decode()}
    ask |= {"seen": seen["version"], "frame": ""}
    kills = 0
    while not survives_kill_at(host, kills, ask):
        kills += 1
        found = host.resolve_file(FILE).read_bytes()
        assert found in (OLD, NEW)
        loaded = [p for p in host.resolve_file(FILE).parent.iterdir() if p.suffix == ".conflist"]
        assert loaded == [host.resolve_file(FILE)]
        if found == NEW:
            request_write(host, FILE, OLD, request_read(host, FILE))
    assert kills >= 3
    request_write(host, FILE, OLD, request_read(host, FILE))
    assert read_tree(host) == before


def test_a_kill_at_every_write_of_a_setting_is_finished_by_the_next_question(
    host: HostPaths,
) -> None:
    """The loopback keeps ::1 and nothing is left half, in both directions."""
    before = read_tree(host)
    kills = 0
    for value, other in ((b"1\n", b"0\n"), (b"0\n", b"1\n")):
        number = 0
        while True:
            seen = request_read(host, sysctls.DISABLE_IPV6_ALL)
            ask = {
                "do": "write",
                "target": sysctls.DISABLE_IPV6_ALL,
                "seen": seen["version"],
                "frame": "",
            }
            ask |= {"content": base64.b64encode(value).decode()}
            over = survives_kill_at(host, number, ask)
            now = base64.b64decode(request_read(host, sysctls.DISABLE_IPV6_ALL)["content"])
            assert now in (value, other)
            assert (host.net / "ipv6/conf/lo/disable_ipv6").read_text() == "0\n"
            if over:
                break
            number, kills = number + 1, kills + 1
            if now == value:
                request_write(
                    host,
                    sysctls.DISABLE_IPV6_ALL,
                    other,
                    request_read(host, sysctls.DISABLE_IPV6_ALL),
                )
    assert kills >= 8
    assert read_tree(host) == before
    assert not (host.root / "etc/pypi-mirror").exists()


def test_a_setting_that_is_missing_or_read_only(
    host: HostPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert request_read(host, "net.ipv6.conf.nosuch.disable_ipv6")["content"] is None

    def readonly(self: Path, text: str) -> int:
        raise OSError(30, "Read-only file system")

    seen = request_read(host, "net.ipv6.conf.default.disable_ipv6")
    monkeypatch.setattr(Path, "write_text", readonly)
    told = request_write(host, "net.ipv6.conf.default.disable_ipv6", b"1\n", seen)
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
def test_nothing_else_of_the_host_is_touched(host: HostPaths, target: str) -> None:
    assert "refused" in request_read(host, target)


def test_symbolic_links_lead_nowhere(host: HostPaths, tmp_path: Path) -> None:
    outside = tmp_path.parent / "outside"
    outside.mkdir(exist_ok=True)
    (host.root / "etc/away").symlink_to(outside)
    (host.root / "etc/sysctl.conf").symlink_to("/etc/passwd")
    with pytest.raises(TargetError, match="leads out"):
        host.resolve_file("/etc/away/x")
    assert "refused" in request_read(host, "/etc/sysctl.conf")


def write_defaults(tmp_path: Path) -> Path:
    path = tmp_path / "orders.json"
    made = [
        {"target": "/etc/sysctl.d/zz.conf", "content": "x\n"},
        {"target": "net.ipv6.conf.default.disable_ipv6", "content": "1\n"},
        {"target": sysctls.DISABLE_IPV6_ALL, "content": "1\n"},
        {"target": "net.ipv6.conf.nosuch.disable_ipv6", "content": "1\n"},
    ]
    path.write_text(json.dumps(made))
    return path


def test_orders_are_followed_once_and_undone(
    host: HostPaths, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = read_tree(host)
    given = write_defaults(tmp_path_factory.mktemp("orders"))
    assert len(node_defaults.apply_defaults(host, given)) == 3
    assert node_defaults.apply_defaults(host, given) == []
    assert handle_request(host, {"do": "look"})["kept"] == sorted(
        ["/etc/sysctl.d/zz.conf", "net.ipv6.conf.default.disable_ipv6", sysctls.DISABLE_IPV6_ALL]
    )
    assert (host.net / "ipv6/conf/all/disable_ipv6").read_text() == "1\n"
    assert handle_request(host, {"do": "release"}) == {"failed": []}
    assert read_tree(host) == before
    assert not (host.root / "etc/pypi-mirror").exists()


def test_orders_that_were_withdrawn_meanwhile_are_undone_at_the_start(
    host: HostPaths, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = read_tree(host)
    given = write_defaults(tmp_path_factory.mktemp("orders"))
    node_defaults.apply_defaults(host, given)
    given.unlink()
    assert node_defaults.apply_defaults(host, given) == []
    assert read_tree(host) == before


def test_an_edit_since_is_not_undone_but_named(
    host: HostPaths, tmp_path_factory: pytest.TempPathFactory
) -> None:
    node_defaults.apply_defaults(host, write_defaults(tmp_path_factory.mktemp("orders")))
    host.resolve_file("/etc/sysctl.d/zz.conf").write_text("theirs\n")
    told = handle_request(host, {"do": "release"})
    assert told["failed"] == ["/etc/sysctl.d/zz.conf: edited since, left as it is"]
    assert host.resolve_file("/etc/sysctl.d/zz.conf").read_text() == "theirs\n"


def test_a_big_file_or_a_folder_is_refused(host: HostPaths) -> None:
    host.resolve_file("/etc/big").write_bytes(bytes(2 << 20))
    for target in ("/etc/big", "/etc/cni"):
        with pytest.raises(TargetError):
            files.read_file(host.resolve_file(target))
