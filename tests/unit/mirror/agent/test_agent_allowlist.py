"""The node agent refuses everything that no fix writes: targets, contents, links, whoever asks."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.fixes.host_sysctl import BOOT_TEXT
from deploy.formats.conflist import disable_ipv6, stop_assigning_ipv6
from mirror.agent import allowlist, desired_state, node_defaults
from mirror.agent.__main__ import handle_request
from mirror.agent.allowlist import BOOT_FILE
from mirror.agent.host_paths import HostPaths
from mirror.agent.reconcile import NodeReconciler
from mirror.agent.sysctls import check_saved, read_link_settings
from tests.unit.mirror.agent.agent_client import FILE, read_tree, request_read, request_write
from tests.unit.mirror.agent.reconciling import (
    BASE,
    WRITTEN,
    build_desired_target,
    request_keep,
)

ALL, DEFAULT = allowlist.DISABLE_IPV6_ALL, allowlist.DISABLE_IPV6_DEFAULT
SYSCTL_CONF = "/etc/sysctl.conf"
OTHER_TARGETS = (
    "/etc/cron.d/evil",
    "/etc/ld.so.preload",
    "/etc/passwd",
    "/etc/sysctl.d/zz-evil.conf",
    "/etc/sysctl.d/zz-pypi-mirror-ipv6.conf.d/x",
    "/etc/sysctl.d/../cron.d/evil",
    "/etc/sysctl.d//zz-pypi-mirror-ipv6.conf",
    "/etc/./sysctl.conf",
    "//etc/sysctl.conf",
    "/etc/sysctl.conf\0.x",
    "/etc/cni/net.d/../../cron.d/x.conflist",
    "/etc/cni/net.d/sub/x.conflist",
    "/etc/cni/net.d/.hidden.conflist",
    "/etc/cni/net.d/x.conf",
    "/etc/cni/net.d/calico-kubeconfig",
    "/etc/pypi-mirror/keep",
    "/opt/cni/bin/tuning",
    "/var/snap/microk8s/current/args/kubelet",
    "net.ipv6.conf.eth0.disable_ipv6",
    "net.ipv4.ip_forward",
    "net.core.bpf_jit_enable",
    "kernel.core_pattern",
    "net/ipv6/conf/all/disable_ipv6",
    "",
)


def encode(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()


def replace_once(old: bytes, new: bytes, text: bytes = BASE) -> bytes:
    assert text.count(old) >= 1
    return text.replace(old, new, 1)


@pytest.mark.parametrize("target", OTHER_TARGETS)
def test_no_request_reaches_another_target(host: HostPaths, target: str) -> None:
    before = read_tree(host)
    write = {"target": target, "content": encode(b"x\n"), "seen": "absent", "frame": ""}
    assert "refused" in handle_request(host, {"do": "read", "target": target})
    assert "refused" in handle_request(host, {"do": "write", **write})
    page = {"target": target, "base": None, "written": encode(b"x\n"), "seen": "absent"}
    answer = handle_request(
        host, {"do": "keep", "pages": [{**page, "fixes": ["a"]}], "orders": False}
    )
    assert answer["keeps"] == []
    assert len(answer["rejected"]) == 1
    assert handle_request(host, {"do": "seen", "targets": [target]})["versions"] == {}
    assert read_tree(host) == before


def other_plugin(**fields: Any) -> bytes:
    """The conflist with one more plugin."""
    conflist = json.loads(BASE)
    conflist["plugins"].append(fields)
    return json.dumps(conflist).encode()


def changed_plugin(change: Callable[[Any], None]) -> bytes:
    """The fixed conflist with a change of its plugins."""
    conflist = json.loads(WRITTEN)
    change(conflist["plugins"])
    return json.dumps(conflist).encode()


TUNING = b'{"type": "tuning", "sysctl": {"net.ipv6.conf.lo.disable_ipv6": "0"}}'
HOSTILE_CONFLISTS: dict[str, bytes | None] = {
    "removed": None,
    "empty": b"",
    "another list": b'{"plugins": [{"type": "host-local"}]}',
    "another plugin": other_plugin(type="sbr"),
    "tuning of another key": other_plugin(type="tuning", sysctl={"net.core.somaxconn": "1"}),
    "one more key": changed_plugin(lambda p: p[1]["sysctl"].update({"net.ipv4.ip_forward": "1"})),
    "another value": changed_plugin(lambda p: p[1]["sysctl"].update({ALL: "0"})),
    "a number as value": changed_plugin(lambda p: p[1]["sysctl"].update({ALL: 1})),
    "tuning with mac": changed_plugin(lambda p: p[1].update({"mac": "00:00:00:00:00:01"})),
    "tuning with dataDir": changed_plugin(lambda p: p[1].update({"dataDir": "/etc/cron.d"})),
    "tuning twice": changed_plugin(lambda p: p.append(p[1])),
    "tuning first": changed_plugin(lambda p: p.insert(0, p.pop(1))),
    "delegate": changed_plugin(lambda p: p[0].update({"delegate": {"type": "bridge"}})),
    "another ipam": changed_plugin(lambda p: p[0].update({"ipam": {"type": "host-local"}})),
    "ipam with a file": changed_plugin(lambda p: p[0]["ipam"].update({"dataDir": "/etc"})),
    "assign_ipv6 as a list": changed_plugin(lambda p: p[0]["ipam"].update({"assign_ipv6": []})),
    "assign_ipv6 as a bool": changed_plugin(lambda p: p[0]["ipam"].update({"assign_ipv6": True})),
    "a log file": changed_plugin(lambda p: p[0].update({"log_file_path": "/etc/cron.d/x"})),
    "a plugin less": changed_plugin(lambda p: p.pop()),
    "another order": changed_plugin(lambda p: p.append(p.pop(0))),
    "another name": replace_once(b'"k8s-pod-network"', b'"evil"'),
    "another version": replace_once(b'"0.3.1"', b'"1.0.0"'),
    "a key twice": replace_once(b'"type": "calico",', b'"type": "calico", "type": "calico",'),
    "a key twice by case": replace_once(b'"type": "calico",', b'"type": "calico", "TYPE": "sbr",'),
    "a key twice by folding": replace_once(
        b'"plugins": [', '"plugins": [], "plugin\u017f": ['.encode()
    ),
    "a second document": BASE + b'{"plugins": [{"type": "sbr"}]}',
    "a comment": BASE + b"// x",
    "not UTF-8": replace_once(b'"k8s-pod-network"', b'"k8s-pod-network\xff"'),
    "UTF-16": BASE.decode().encode("utf-16"),
    "NaN": replace_once(b'"log_level": "info"', b'"log_level": NaN'),
    "deep": b'{"plugins": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "huge": BASE + b" " * (1 << 20),
    "not an object": b"[]",
    "plugins of text": b'{"plugins": ["calico"]}',
}


@pytest.mark.parametrize("content", HOSTILE_CONFLISTS.values(), ids=HOSTILE_CONFLISTS)
@pytest.mark.parametrize("current", [BASE, WRITTEN], ids=["before", "after the fix"])
def test_refuses_a_hostile_conflist(host: HostPaths, current: bytes, content: bytes | None) -> None:
    host.resolve_file(FILE).write_bytes(current)
    before = read_tree(host)
    assert "refused" in request_write(host, FILE, content, request_read(host, FILE))
    page = {**build_desired_target(host, FILE, current, b""), "written": encode(content)}
    answer = handle_request(host, {"do": "keep", "pages": [page], "orders": False})
    assert (answer["keeps"], len(answer["rejected"])) == ([], 1)
    assert read_tree(host) == before


@pytest.mark.parametrize(
    ("once", "twice"),
    [
        (b'"type": "calico"', b'"type": "sbr", "type": "calico"'),
        (b'"type": "calico"', b'"TYPE": "sbr", "type": "calico"'),
        (b'"plugins": [', '"plugin\u017f": [], "plugins": ['.encode()),
        (b'"assign_ipv6": "true"', b'"assign_ipv6": "true", "Assign_IPv6": "false"'),
    ],
)
def test_refuses_to_edit_a_conflist_that_parsers_read_differently(
    host: HostPaths, once: bytes, twice: bytes
) -> None:
    """Go takes keys of another case for the same one. The change itself is the fix's own."""
    current, content = replace_once(once, twice), replace_once(once, twice, WRITTEN)
    host.resolve_file(FILE).write_bytes(current)
    answer = request_write(host, FILE, content, request_read(host, FILE))
    assert "a key appears twice" in answer["refused"]
    assert host.resolve_file(FILE).read_bytes() == current


def test_refuses_a_second_conflist(host: HostPaths) -> None:
    """The runtime loads the first one by name."""
    target = "/etc/cni/net.d/00-evil.conflist"
    answer = request_write(host, target, BASE, request_read(host, target))
    assert "neither created nor removed" in answer["refused"]
    assert not host.resolve_file(target).exists()


NO_IPV6 = stop_assigning_ipv6(BASE.decode())


@pytest.mark.parametrize("before", [BASE.decode(), "\ufeff" + BASE.decode()], ids=["plain", "BOM"])
def test_allows_each_change_of_a_conflist_that_fixes_make(host: HostPaths, before: str) -> None:
    mark = before[: before.index("{")]
    texts = [before, disable_ipv6(before), mark + NO_IPV6, disable_ipv6(mark + NO_IPV6)]
    for old in texts:
        for new in texts:
            host.resolve_file(FILE).write_text(old)
            request_write(host, FILE, new.encode(), request_read(host, FILE))
            assert host.resolve_file(FILE).read_text() == new


@pytest.mark.parametrize(
    "content",
    [
        b"kernel.core_pattern = |/tmp/x\n",
        BOOT_TEXT.encode() + b"net.ipv4.ip_forward = 1\n",
        b"net.ipv6.conf.all.disable_ipv6 = 2\n",
        b"net.ipv6.conf.all.disable_ipv6 = 1 # x\n",
        b"net.ipv6.conf.all.disable_ipv6 = 1\x0bkernel.sysrq = 1\n",
        b"net.ipv6.conf.all.disable_ipv6 = 1\rkernel.sysrq = 1\n",
        b"# x\rkernel.sysrq = 1\n",
        b"# \xff\n",
        b"* * * * * root x\n",
        b"#" * (2 << 20),
    ],
)
def test_refuses_another_content_of_the_boot_file(host: HostPaths, content: bytes) -> None:
    assert "refused" in request_write(host, BOOT_FILE, content, request_read(host, BOOT_FILE))
    assert not host.resolve_file(BOOT_FILE).exists()


SYSCTL_BASE = b"# theirs \xff\nnet.ipv4.ip_forward=1\n"
ENTRIES = b"net.ipv6.conf.all.disable_ipv6=1\n -net/ipv6/conf/lo/disable_ipv6 = 0\n"


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        SYSCTL_BASE + b"kernel.core_pattern=|/tmp/x\n",
        SYSCTL_BASE.replace(b"=1", b"=0"),
        SYSCTL_BASE + b"net.ipv6.conf.all.disable_ipv6=1\rkernel.sysrq=1\n",
        SYSCTL_BASE + b"net.ipv6.conf.eth0.disable_ipv6=1\n",
        SYSCTL_BASE + b"net.ipv6.conf.all.disable_ipv6=1\x0b\nx\n",
    ],
)
def test_only_disable_ipv6_lines_of_sysctl_conf_change(
    host: HostPaths, content: bytes | None
) -> None:
    path = host.resolve_file(SYSCTL_CONF)
    for current in (SYSCTL_BASE, SYSCTL_BASE + ENTRIES):
        path.write_bytes(current)
        answer = request_write(host, SYSCTL_CONF, content, request_read(host, SYSCTL_CONF))
        assert "refused" in answer
        assert path.read_bytes() == current


def test_allows_to_take_over_the_lines_of_a_runbook_and_back(host: HostPaths) -> None:
    path = host.resolve_file(SYSCTL_CONF)
    for before in (SYSCTL_BASE + ENTRIES, ENTRIES + SYSCTL_BASE, ENTRIES[:-1]):
        after = allowlist.remove_ipv6_entries(before)
        assert after in (SYSCTL_BASE, b"")
        for old, new in ((before, after), (after, before)):
            path.write_bytes(old)
            request_write(host, SYSCTL_CONF, new, request_read(host, SYSCTL_CONF))
            assert path.read_bytes() == new


@pytest.mark.parametrize("value", [b"2\n", b"1\n1\n", b"", b"01", b" 1", b"1;x", b"\xff", None])
@pytest.mark.parametrize("key", [ALL, DEFAULT])
def test_settings_are_0_or_1(host: HostPaths, key: str, value: bytes | None) -> None:
    before = read_tree(host)
    assert "refused" in request_write(host, key, value, request_read(host, key))
    assert read_tree(host) == before


# -- addresses and routes, which the ledger stores ------------------------------------------------


def attribute(kind: int, value: bytes) -> bytes:
    text = struct.pack("=HH", 4 + len(value), kind) + value
    return text + bytes(-len(text) % 4)


def record(body: bytes) -> dict[str, str]:
    return {"link": "eth0", "message": base64.b64encode(body).decode()}


IPV6, IPV4 = 10, 2
ADDRESS = attribute(1, bytes(15) + b"\1")
HOP_WITH_PROGRAM = struct.pack("=HBBi", 16, 0, 0, 1) + attribute(22, b"abcd")
HOP = struct.pack("=HBBi", 8, 0, 0, 1)


def address(family: int = IPV6, flags: int = 0x80, scope: int = 0, rest: bytes = ADDRESS) -> Any:
    return record(struct.pack("=BBBBI", family, 64, flags, scope, 2) + rest)


def route(
    family: int = IPV6, table: int = 254, protocol: int = 3, kind: int = 1, rest: bytes = ADDRESS
) -> Any:
    head = struct.pack("=BBBBBBBBI", family, 64, 0, 0, table, protocol, 0, kind, 0)
    return record(head + rest)


def saved(**fields: Any) -> str:
    return json.dumps({"links": {}, "addresses": [], "routes": [], **fields})


@pytest.mark.parametrize(
    "frame",
    [
        saved(addresses=[address(family=IPV4)]),
        saved(addresses=[address(flags=0)]),
        saved(addresses=[address(scope=254)]),
        saved(addresses=[address(rest=attribute(3, b"lo"))]),
        saved(addresses=[address(rest=ADDRESS[:-1])]),
        saved(addresses=[address(rest=ADDRESS + b"\4\0\1")]),
        saved(addresses=[address(rest=struct.pack("=HH", 3, 1))]),
        saved(addresses=[record(bytes(7))]),
        saved(addresses=[{"link": "eth0"}]),
        saved(addresses=[{"link": 5, "message": ""}]),
        saved(addresses=[{"link": "eth0", "message": "%"}]),
        saved(routes=[route(family=IPV4)]),
        saved(routes=[route(table=255)]),
        saved(routes=[route(kind=6)]),
        saved(routes=[route(protocol=2)]),
        saved(routes=[route(rest=attribute(22, attribute(1, b"x")))]),
        saved(routes=[route(rest=attribute(9, HOP[:4]))]),
        saved(routes=[route(rest=attribute(9, struct.pack("=HBBi", 4, 0, 0, 1)))]),
        saved(routes=[route(rest=attribute(9, struct.pack("=HBBi", 12, 0, 0, 1)))]),
        saved(routes=[record(bytes(11))]),
        saved(
            routes=[
                route(rest=attribute(9, struct.pack("=HBBi", 16, 0, 0, 1) + attribute(22, b"abcd")))
            ]
        ),
        saved(routes="x"),
        saved(links={"../../../kernel": "1"}, addresses=None),
        saved(links={"eth0": "1; x"}),
        saved(links=[]),
        "[]",
        "{",
        "[" * 100_000,
        saved(padding="x" * (2 << 20)),
    ],
)
def test_refuses_stored_addresses_and_routes_of_another_kind(host: HostPaths, frame: str) -> None:
    request_write(host, ALL, b"1\n", request_read(host, ALL))
    before = read_tree(host)
    current = {**request_read(host, ALL), "frame": frame}
    assert "not what the agent saves" in request_write(host, ALL, b"0\n", current)["refused"]
    assert read_tree(host) == before


def test_accepts_stored_addresses_and_routes() -> None:
    """Of the kinds that a host may have; setting them is tested on real hosts."""
    hops = attribute(9, struct.pack("=HBBi", 28, 0, 0, 1) + attribute(5, bytes(16)))
    for frame in (saved(addresses=[address()]), saved(routes=[route(), route(rest=hops)])):
        check_saved(frame)


def test_a_link_that_goes_away_meanwhile_is_left_out(host: HostPaths) -> None:
    setting = host.net / "ipv6/conf/eth0/disable_ipv6"
    setting.unlink()
    setting.mkdir()  # reading it fails, as for a link that was removed
    assert read_link_settings(host) == {"all": "0", "default": "0", "lo": "0"}


# -- symbolic links -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("etc/cni", FILE),
        ("etc/cni/net.d", FILE),
        ("etc/cni/net.d/10-calico.conflist", FILE),
        ("etc/sysctl.d", BOOT_FILE),
        ("etc/sysctl.d/zz-pypi-mirror-ipv6.conf", BOOT_FILE),
        ("etc/sysctl.conf", SYSCTL_CONF),
    ],
)
def test_follows_no_symbolic_link(
    host: HostPaths, tmp_path_factory: pytest.TempPathFactory, link: str, target: str
) -> None:
    """Whatever the link leads to: a copy of the same files, as if nothing were wrong."""
    outside = tmp_path_factory.mktemp("outside") / "moved"
    path = host.root / link
    if target == SYSCTL_CONF:
        path.write_bytes(SYSCTL_BASE + ENTRIES)
    elif path == host.resolve_file(BOOT_FILE):
        path.write_text(BOOT_TEXT)
    path.rename(outside)
    path.symlink_to(outside)
    before = {p: p.read_bytes() for p in [outside, *outside.rglob("*")] if p.is_file()}
    content = {FILE: WRITTEN, BOOT_FILE: BOOT_TEXT.encode(), SYSCTL_CONF: SYSCTL_BASE}[target]
    assert "refused" in request_read(host, target)
    for version in ("absent", hashlib.sha256(b"").hexdigest()):
        current = {"version": version, "frame": ""}
        assert "refused" in request_write(host, target, content, current)
    assert {p: p.read_bytes() for p in [outside, *outside.rglob("*")] if p.is_file()} == before
    assert not list(outside.parent.rglob(".pypi-mirror-*"))


def test_a_folder_that_is_replaced_by_a_link_meanwhile_is_not_left(
    host: HostPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write goes to the folder that was checked."""
    folder, moved, outside = tmp_path / "etc/cni/net.d", tmp_path / "moved", tmp_path / "outside"
    folder.joinpath("10-calico.conflist").write_bytes(BASE)
    outside.mkdir()
    outside.joinpath("10-calico.conflist").write_bytes(b"theirs")
    current, rename = request_read(host, FILE), os.rename

    def swap_and_rename(*arguments: Any, **options: Any) -> None:
        monkeypatch.undo()
        folder.rename(moved)
        folder.symlink_to(outside)
        rename(*arguments, **options)

    monkeypatch.setattr(os, "rename", swap_and_rename)
    request_write(host, FILE, WRITTEN, current)
    assert outside.joinpath("10-calico.conflist").read_bytes() == b"theirs"
    assert [path.name for path in outside.iterdir()] == ["10-calico.conflist"]
    assert moved.joinpath("10-calico.conflist").read_bytes() == WRITTEN


def test_reports_a_cni_folder_behind_a_link_and_lists_linked_plugins(host: HostPaths) -> None:
    """A conflist there is neither read nor written; of plugins only the names are read."""
    (host.root / "etc/cni/net.d").rename(host.root / "etc/moved")
    (host.root / "etc/cni/net.d").symlink_to(host.root / "etc/moved")
    (host.root / "etc/bin").mkdir()
    (host.root / "etc/bin/tuning").touch()
    (host.root / "cni/calico").symlink_to(host.root / "etc/bin/tuning")
    view = handle_request(host, {"do": "look"})
    assert (view["conflists"], view["plugins"]) == ([], ["calico"])
    (line,) = view["rejected"]
    assert "net.d is a symbolic link" in line


def test_a_pipe_or_a_device_does_not_block_the_agent(host: HostPaths) -> None:
    os.mkfifo(host.resolve_file(BOOT_FILE))
    os.mkfifo(host.root / "etc/cni/net.d/00-pipe.conflist")
    assert "not a regular file" in request_read(host, BOOT_FILE)["refused"]
    view = handle_request(host, {"do": "look"})
    assert ["00-pipe.conflist" in line for line in view["rejected"]] == [True]


# -- node defaults, the desired state, requests ---------------------------------------------------

GOOD = {"schema": 1, "target": DEFAULT, "content": "1\n"}
BAD_DEFAULTS: dict[str, Any] = {
    "another file": {"target": "/etc/cron.d/evil", "content": "* * * * * root x\n"},
    "preload": {"target": "/etc/ld.so.preload", "content": "/tmp/x.so\n"},
    "a conflist": {"target": FILE, "content": WRITTEN.decode()},
    "sysctl.conf": {"target": SYSCTL_CONF, "content": ""},
    "another key": {"target": "net.ipv4.ip_forward", "content": "1\n"},
    "another value": {"target": ALL, "content": "0\n"},
    "another line": {"target": BOOT_FILE, "content": BOOT_TEXT + "kernel.sysrq = 1\n"},
    "a newer version": {"schema": 2, "target": ALL, "content": "1\n"},
    "twice": GOOD,
    "no content": {"target": ALL},
    "content of another type": {"target": ALL, "content": 1},
    "target of another type": {"target": ["x"], "content": "1\n"},
    "a lone surrogate": {"target": BOOT_FILE, "content": "# \ud800\n"},
    "not an object": "x",
    "null": None,
}


@pytest.mark.parametrize("bad", BAD_DEFAULTS.values(), ids=BAD_DEFAULTS)
def test_one_bad_default_is_reported_and_the_others_are_obeyed(
    host: HostPaths, tmp_path: Path, bad: Any
) -> None:
    before = read_tree(host)
    defaults = tmp_path / "orders.json"
    defaults.write_text(json.dumps([GOOD, bad]))
    lines = node_defaults.apply_defaults(host, defaults)
    assert [line for line in lines if "not obeyed" in line] == lines[:1]
    assert lines[1:] == [f"{DEFAULT}: written"]
    assert node_defaults.find_rejected(host, defaults) == lines[:1]
    assert [each["target"] for each in node_defaults.read_applied(host)] == [DEFAULT]
    assert node_defaults.revert_defaults(host) == []
    defaults.unlink()
    assert read_tree(host) == before


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "{}", '"x"', "[" * 100_000, "\udcff", " " * (1 << 20), '{"schema": 2}'],
)
def test_stands_by_if_no_default_can_be_read(host: HostPaths, tmp_path: Path, text: str) -> None:
    """What was applied before stays: defaults are only reverted when the file is withdrawn."""
    defaults = tmp_path / "orders.json"
    defaults.write_text(json.dumps([GOOD]))
    node_defaults.apply_defaults(host, defaults)
    before = read_tree(host)
    defaults.write_text(text, errors="surrogateescape")
    (line,) = node_defaults.apply_defaults(host, defaults)
    assert "none is obeyed" in line
    defaults.write_text(json.dumps([GOOD]))
    assert read_tree(host) == before


def test_many_bad_defaults_make_a_short_report(host: HostPaths, tmp_path: Path) -> None:
    defaults = tmp_path / "orders.json"
    defaults.write_text(json.dumps(["x"] * 3000))
    lines = node_defaults.find_rejected(host, defaults)
    assert len(lines) == 11
    assert lines[-1] == "and 2990 more are not obeyed"


def test_a_record_of_another_default_is_not_overwritten(host: HostPaths, tmp_path: Path) -> None:
    """Each default keeps its own previous value, in whatever order they are published."""
    before = read_tree(host)
    defaults = tmp_path / "orders.json"
    boot = {"target": BOOT_FILE, "content": BOOT_TEXT}
    for published in ([GOOD], [boot, GOOD]):
        defaults.write_text(json.dumps(published))
        node_defaults.apply_defaults(host, defaults)
    defaults.unlink()
    assert node_defaults.apply_defaults(host, defaults) == []
    assert read_tree(host) == before


def test_a_damaged_record_is_reported_and_the_others_are_reverted(
    host: HostPaths, tmp_path: Path
) -> None:
    defaults = tmp_path / "orders.json"
    defaults.write_text(json.dumps([GOOD]))
    node_defaults.apply_defaults(host, defaults)
    (host.root / "etc/pypi-mirror/001.json").write_text('{"target": "/etc/passwd"}')
    (host.root / "etc/pypi-mirror/002.json").write_text("[")
    assert handle_request(host, {"do": "look"})["rejected"] == [
        "/etc/pypi-mirror/001.json is damaged",
        "/etc/pypi-mirror/002.json is damaged",
    ]
    assert handle_request(host, {"do": "release"}) == {"failed": []}
    assert (host.net / "ipv6/conf/default/disable_ipv6").read_text() == "0\n"


def test_keeps_the_good_targets_beside_a_bad_one(host: HostPaths) -> None:
    host.resolve_file(FILE).write_bytes(WRITTEN)
    good = build_desired_target(host, FILE, BASE, WRITTEN)
    evil = {**good, "target": "/etc/cron.d/evil", "seen": "absent"}
    other = {**good, "base": encode(b'{"plugins": [{"type": "sbr"}]}')}
    assert request_keep(host, evil, good) == [FILE]
    assert request_keep(host, other) == []
    assert request_keep(host, good) == [FILE]


def test_does_not_restore_a_target_that_somebody_put_into_the_desired_state(
    host: HostPaths,
) -> None:
    """With a right checksum, as another version of the agent would write it."""
    before = read_tree(host)
    for name, base in ((FILE, b'{"plugins": [{"type": "sbr"}]}'), ("/etc/cron.d/evil", None)):
        desired = desired_state.DesiredTarget(
            target=name, fixes=("a",), base=base, written=b"evil\n"
        )
        desired_state.write(host, [desired])
        messages: list[str] = []
        NodeReconciler(host, messages.append, lambda _: None).reconcile()
        assert [message.startswith("FixLost: fix a: ") for message in messages] == [True]
        (line,) = handle_request(host, {"do": "look"})["rejected"]
        assert line.startswith("not restored: ")
        desired_state.write(host, [])
    assert read_tree(host) == before


@pytest.mark.parametrize(
    "request_",
    [
        {},
        [],
        None,
        {"do": "write"},
        {"do": "read", "target": 5},
        {"do": "read", "target": None},
        {"do": "write", "target": FILE, "content": "%", "seen": "", "frame": ""},
        {"do": "keep", "pages": [{}], "orders": False},
        {"do": "keep", "pages": 5, "orders": False},
        {"do": "seen", "targets": 5},
        {"do": "nothing"},
    ],
)
def test_answers_a_malformed_request(host: HostPaths, request_: Any) -> None:
    before = read_tree(host)
    assert "refused" in handle_request(host, request_)
    assert read_tree(host) == before


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"value": 1}'])
def test_an_altered_record_of_an_interrupted_write_is_dropped_once(
    host: HostPaths, text: str
) -> None:
    folder = host.root / "etc/pypi-mirror"
    folder.mkdir()
    (folder / "unfinished").write_text(text)
    assert "unfinished was altered" in request_read(host, ALL)["refused"]
    assert request_read(host, ALL)["content"] == encode(b"0\n")
    assert not folder.exists()
