"""The lab's network: a namespace with a bridge, an uplink to the machine, and a veth per node.

Everything is in the network namespace of the lab's first process and vanishes with it. Three things
are on the machine: the outer end of the uplink, which vanishes with its peer; one nft table for
masquerading; and IPv4 forwarding, whose previous value is kept in the comment of that table.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.cluster.options import Site
from tests.cluster.process import run

NETNS_FOLDER = Path("/run/netns")
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


def connect_machine(site: Site, lab_pid: int) -> None:
    """In the machine's namespace: create the uplink, the route to the nodes, and masquerading."""
    link, outer = f"{site.id}-up", site.uplink_outer
    peer = ("peer", "name", site.uplink, "netns", str(lab_pid))
    _ip("link", "add", link, "type", "veth", *peer)
    _ip("address", "add", str(outer), "dev", link)
    _ip("link", "set", link, "up")
    _ip("route", "replace", str(site.node_network), "via", str(site.uplink_inner.ip), "dev", link)
    before = read_saved_forwarding() or FORWARDING.read_text().strip()
    _nft(
        f'table inet {site.id} {{ comment "ip_forward was {before}"\n'
        f"chain leaving {{ type nat hook postrouting priority 100;\n"
        f"ip saddr {{ {site.node_network}, {outer.network} }} "
        f'oifname != "{link}" masquerade; }}\n}}\n'
    )
    FORWARDING.write_text("1")


def disconnect_machine(site_id: str) -> None:
    """In the machine's namespace: undo connect_machine. The last lab restores IP forwarding."""
    tables = _read_saved_tables()
    run("ip", "link", "delete", f"{site_id}-up", check=False)
    if site_id not in tables:
        return
    run("nft", "delete", "table", "inet", site_id, check=False)
    if len(tables) == 1:
        FORWARDING.write_text(tables[site_id])


def build_lab_network(site: Site, *, dual_stack: bool, cut_egress: bool) -> None:
    """In the lab's namespace: set up loopback, bridge, uplink, forwarding and firewall rules."""
    _ip("link", "set", "lo", "up")
    _ip("link", "add", site.bridge, "type", "bridge")
    _ip("address", "add", f"{site.router}/24", "dev", site.bridge)
    _ip("link", "set", site.bridge, "up")
    _ip("address", "add", str(site.uplink_inner), "dev", site.uplink)
    _ip("link", "set", site.uplink, "up")
    _ip("route", "add", "default", "via", str(site.uplink_outer.ip))
    FORWARDING.write_text("1")
    if dual_stack:
        _ip("-6", "address", "add", f"{site.ipv6_router}/64", "dev", site.bridge, "nodad")
        Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
    leaving = f'iifname "{site.bridge}" oifname "{site.uplink}" ip saddr {site.pods}'
    cut = f"{leaving} ip saddr != @open counter reject with icmp type admin-prohibited"
    _nft(
        "table inet lab {\n"
        "set open { type ipv4_addr; }\n"
        f"chain forward {{ type filter hook forward priority 0;\n{cut if cut_egress else ''}\n}}\n"
        "chain leaving { type nat hook postrouting priority 100;\n"
        f'ip saddr {site.pods} oifname "{site.uplink}" masquerade; }}\n}}\n'
    )


def open_egress(addresses: set[str]) -> None:
    """In the lab's namespace: let exactly these pod addresses leave the cluster."""
    add = f"add element inet lab open {{ {', '.join(sorted(addresses))} }}\n"
    _nft("flush set inet lab open\n" + (add if addresses else ""))


def connect_node(site: Site, node: str, number: int, *, dual_stack: bool) -> None:
    """In the lab's namespace: create the node's network namespace, with eth0 on the bridge."""
    disconnect_node(node, number)
    address, link = site.node_address(number), f"node{number}"
    _ip("netns", "add", node)
    _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", node)
    _ip("link", "set", link, "master", site.bridge, "up")
    _ip("-n", node, "link", "set", "lo", "up")
    _ip("-n", node, "address", "add", f"{address}/24", "dev", "eth0")
    _ip("-n", node, "link", "set", "eth0", "up")
    _ip("-n", node, "route", "add", "default", "via", str(site.router))
    _ip("route", "replace", str(site.node_pods(number)), "via", str(address))
    if dual_stack:
        own = str(site.ipv6_node_address(number))
        _ip("-n", node, "-6", "address", "add", f"{own}/64", "dev", "eth0", "nodad")
        _ip("-n", node, "-6", "route", "add", str(site.ipv6_network), "via", str(site.ipv6_router))
        _ip("-6", "route", "replace", str(site.ipv6_node_pods(number)), "via", own)


def disconnect_node(node: str, number: int) -> None:
    """Undo connect_node. Does nothing if there is no such node."""
    run("ip", "link", "delete", f"node{number}", check=False)
    run("ip", "netns", "delete", node, check=False)


def list_lab_ids() -> tuple[str, ...]:
    """Return the ids of the labs that have an nft table in the machine's namespace."""
    return tuple(_read_saved_tables())


def read_saved_forwarding() -> str | None:
    """Return the value of ip_forward before any lab started; None if no lab runs."""
    return next(iter(_read_saved_tables().values()), None)


def _read_saved_tables() -> dict[str, str]:
    """Return lab id → the value of ip_forward saved in its nft table."""
    listing = run("nft", "list", "tables", "inet", check=False).stdout
    saved: dict[str, str] = {}
    for name in re.findall(r"^table inet (mlab\d+)$", listing, flags=re.MULTILINE):
        text = run("nft", "list", "table", "inet", name, check=False).stdout
        value = re.search(r"ip_forward was (\d)", text)
        saved[name] = value[1] if value else "1"
    return saved


def _ip(*argv: str) -> None:
    run("ip", *argv, timeout=10)


def _nft(text: str) -> None:
    run("nft", "-f", "-", stdin=text, timeout=10)
