"""The node agent on a folder that stands for a host: exact, atomic, confined, safe to kill."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from deploy.fixes.host_sysctl import BOOT_TEXT
from mirror.agent import allowlist, files, node_defaults
from mirror.agent.__main__ import handle_request
from mirror.agent.allowlist import BOOT_FILE
from mirror.agent.host_paths import HostPaths, TargetError
from mirror.agent.host_report import describe_host
from tests.unit.mirror.agent.agent_client import (
    FILE,
    NEW,
    OLD,
    build_write_request,
    read_tree,
    request_read,
    request_write,
    survives_kill_at,
)
from tests.unit.mirror.agent.reconciling import (
    disable_ipv6_path,
    make_settings_read_only,
    needs_root,
    write_defaults_file,
)

DEFAULTS = {
    BOOT_FILE: BOOT_TEXT,
    allowlist.DISABLE_IPV6_DEFAULT: "1\n",
    allowlist.DISABLE_IPV6_ALL: "1\n",
}


@pytest.fixture
def defaults_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_defaults_file(tmp_path_factory.mktemp("orders"), DEFAULTS)


def test_replaces_and_restores_a_file_with_its_mode(host: HostPaths) -> None:
    before = read_tree(host)
    original = request_read(host, FILE)
    written = request_write(host, FILE, NEW, original)
    path = host.resolve_file(FILE)
    assert path.read_bytes() == NEW
    assert path.stat().st_mode & 0o777 == 0o600
    request_write(host, FILE, base64.b64decode(original["content"]), written)
    assert read_tree(host) == before
    assert path.stat().st_mode & 0o777 == 0o600


def test_creates_and_removes_a_file(host: HostPaths) -> None:
    before = read_tree(host)
    written = request_write(host, BOOT_FILE, BOOT_TEXT.encode(), request_read(host, BOOT_FILE))
    assert host.resolve_file(BOOT_FILE).read_text() == BOOT_TEXT
    assert request_read(host, BOOT_FILE)["version"] == written["version"]
    request_write(host, BOOT_FILE, None, written)
    assert read_tree(host) == before


def test_does_not_overwrite_a_change_made_meanwhile(host: HostPaths) -> None:
    original = request_read(host, FILE)
    host.resolve_file(FILE).write_bytes(b"theirs")
    assert "moved" in request_write(host, FILE, NEW, original)
    assert host.resolve_file(FILE).read_bytes() == b"theirs"


def test_a_kill_at_any_change_of_a_file_write_leaves_the_old_or_the_new(host: HostPaths) -> None:
    before = read_tree(host)
    request = build_write_request(FILE, NEW, request_read(host, FILE)["version"])
    kills = 0
    while not survives_kill_at(host, kills, request):
        kills += 1
        content = host.resolve_file(FILE).read_bytes()
        assert content in (OLD, NEW)
        folder = host.resolve_file(FILE).parent
        loaded = [path for path in folder.iterdir() if path.suffix == ".conflist"]
        assert loaded == [host.resolve_file(FILE)]
        if content == NEW:
            request_write(host, FILE, OLD, request_read(host, FILE))
    assert kills >= 3
    request_write(host, FILE, OLD, request_read(host, FILE))
    assert read_tree(host) == before


def test_the_next_request_finishes_a_setting_after_a_kill_at_any_change(host: HostPaths) -> None:
    """In both directions. The loopback keeps IPv6, and no setting is left half written."""
    before = read_tree(host)
    kills = 0
    for value, opposite in ((b"1\n", b"0\n"), (b"0\n", b"1\n")):
        number = 0
        while True:
            version = request_read(host, allowlist.DISABLE_IPV6_ALL)["version"]
            request = build_write_request(allowlist.DISABLE_IPV6_ALL, value, version)
            survived = survives_kill_at(host, number, request)
            answer = request_read(host, allowlist.DISABLE_IPV6_ALL)
            current = base64.b64decode(answer["content"])
            assert current in (value, opposite)
            assert disable_ipv6_path(host, "lo").read_text() == "0\n"
            if survived:
                break
            number, kills = number + 1, kills + 1
            if current == value:
                request_write(host, allowlist.DISABLE_IPV6_ALL, opposite, answer)
    assert kills >= 8
    assert read_tree(host) == before
    assert not (host.root / "etc/pypi-mirror").exists()


def test_reports_a_setting_that_is_missing_or_read_only(
    host: HostPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    disable_ipv6_path(host).unlink()
    assert request_read(host, allowlist.DISABLE_IPV6_ALL)["content"] is None
    key = allowlist.DISABLE_IPV6_DEFAULT
    original = request_read(host, key)
    make_settings_read_only(monkeypatch)
    answer = request_write(host, key, b"1\n", original)
    assert f"{key} cannot be set: Read-only" in answer["refused"]


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
def test_rejects_other_targets_on_the_host(host: HostPaths, target: str) -> None:
    assert "refused" in request_read(host, target)


@needs_root
def test_applies_node_defaults_once_and_reverts_them(host: HostPaths, defaults_file: Path) -> None:
    before = read_tree(host)
    assert len(node_defaults.apply_defaults(host, defaults_file)) == 3
    assert node_defaults.apply_defaults(host, defaults_file) == []
    applied = [BOOT_FILE, allowlist.DISABLE_IPV6_DEFAULT, allowlist.DISABLE_IPV6_ALL]
    assert handle_request(host, {"do": "look"})["kept"] == sorted(applied)
    assert disable_ipv6_path(host).read_text() == "1\n"
    assert handle_request(host, {"do": "release"}) == {"failed": []}
    assert read_tree(host) == before
    assert not (host.root / "etc/pypi-mirror").exists()


@needs_root
def test_reverts_withdrawn_node_defaults_at_the_start(host: HostPaths, defaults_file: Path) -> None:
    before = read_tree(host)
    node_defaults.apply_defaults(host, defaults_file)
    defaults_file.unlink()
    assert node_defaults.apply_defaults(host, defaults_file) == []
    assert read_tree(host) == before


@needs_root
def test_keeps_and_names_a_default_that_was_edited_since(
    host: HostPaths, defaults_file: Path
) -> None:
    node_defaults.apply_defaults(host, defaults_file)
    host.resolve_file(BOOT_FILE).write_text("theirs\n")
    answer = handle_request(host, {"do": "release"})
    assert answer["failed"] == [f"{BOOT_FILE}: edited since, left unchanged"]
    assert host.resolve_file(BOOT_FILE).read_text() == "theirs\n"


def test_refuses_a_large_file_and_a_folder(host: HostPaths) -> None:
    host.resolve_file("/etc/big").write_bytes(bytes(2 << 20))
    for target in ("/etc/big", "/etc/cni"):
        with pytest.raises(TargetError, match="not a regular file of at most"):
            files.read_file(host, target)


@pytest.mark.parametrize(
    "path", ["/var/lib/x", "/etc", "/etcx/a", "/opt/cni/bin", "/opt/cni/other", "/"]
)
def test_reaches_no_file_outside_of_its_mounts(host: HostPaths, path: str) -> None:
    with pytest.raises(TargetError, match="is neither under /etc nor under"):
        host._locate(path)


def test_reports_every_file_that_a_runtime_loads(host: HostPaths) -> None:
    for name in ("20-b.conf", "30-c.json", "40-d.conflist.bak", "kubeconfig"):
        (host.root / "etc/cni/net.d" / name).write_text("{}")
    reported = [Path(file["path"]).name for file in describe_host(host)["conflists"]]
    assert reported == ["10-calico.conflist", "20-b.conf", "30-c.json"]
