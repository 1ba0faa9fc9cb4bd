"""IPv6 off on the hosts: now, at boot, and on nodes that join later; `::1` stays."""

from __future__ import annotations

import json
import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from deploy.changes.cni_targets import describe_missing_nodes, list_nodes, read_ready_nodes
from deploy.changes.fix import Fix, FixOption, FixOptions, Refusal
from deploy.changes.model import (
    CannotEdit,
    Change,
    ConfigMapKey,
    Edit,
    NodeFile,
    NodeSysctl,
    ObjectSpec,
    Target,
)
from deploy.evidence.hosts import HostView, SysctlLine
from deploy.evidence.model import Evidence, Need
from deploy.evidence.unseen import Unseen
from deploy.manifests.agent import NODE_DEFAULTS_KEY, NODE_DEFAULTS_MAP, SYSTEM_NAMESPACE
from mirror.merge import encode_spec

NAME = "host-sysctl"
ALL_KEY, DEFAULT_KEY = (f"net.ipv6.conf.{name}.disable_ipv6" for name in ("all", "default"))
BOOT_FILE = "/etc/sysctl.d/zz-pypi-mirror-ipv6.conf"
BOOT_TEXT = (
    "# IPv6 off but for ::1: `mirror fix host-sysctl`; `mirror rollback host-sysctl` removes it\n"
    f"{ALL_KEY} = 1\n{DEFAULT_KEY} = 1\nnet.ipv6.conf.lo.disable_ipv6 = 0\n"
)
RUNBOOK_DAEMONSET = ("DaemonSet", "kube-system", "disable-ipv6")  # what was put there by hand
_LAST = "/etc/sysctl.conf"  # read after all of sysctl.d
_ENTRY = re.compile(r"^\s*-?net[./]ipv6[./]conf[./](all|default|lo)[./]disable_ipv6\s*=\s*(\d)\s*$")


def plan_changes(
    evidence: Evidence,
    options: FixOptions,
    held: tuple[Change, ...],  # noqa: ARG001 - the same nodes, and those that joined since
) -> tuple[Change, ...] | Refusal:
    """calico-node told not to look for IPv6, the standing orders, then node by node."""
    seen = read_ready_nodes(evidence)
    if isinstance(seen, Refusal):
        return seen
    adopt = bool(options.get("adopt"))
    refused = _reached_by_ipv6(evidence) or _calico(evidence) or _overruled(seen, adopt=adopt)
    if refused:
        return refused
    able = {node: view for node, view in seen.items() if view.get_disable_ipv6("all") is not None}
    if not able:
        return Refusal(
            reason="no node's kernel has IPv6: nothing is to be turned off", needless=True
        )
    targets: list[tuple[Target, str]] = [*_autodetection(evidence)]
    if adopt:
        kind, namespace, name = RUNBOOK_DAEMONSET
        target = ObjectSpec(kind=kind, namespace=namespace, name=name)
        targets.append((target, "the runbook's DaemonSet goes: this fix does its work"))
    orders = ConfigMapKey(namespace=SYSTEM_NAMESPACE, name=NODE_DEFAULTS_MAP, key=NODE_DEFAULTS_KEY)
    targets.append((orders, "nodes that join later get the same when their agent starts"))
    for node, view in able.items():
        left = [one for one in view.sysctl_lines if one.path == _LAST]
        note = _by_hand(left)
        targets.append((NodeFile(node=node, path=BOOT_FILE), f"off at boot{note}"))
        if left and adopt:
            lines = NodeFile(node=node, path=_LAST)
            targets.append((lines, "the runbook's lines go: sysctl.d has them"))
        targets.append((NodeSysctl(node=node, key=DEFAULT_KEY), "off on links to come"))
        targets.append((NodeSysctl(node=node, key=ALL_KEY), "off now; ::1 stays"))
    return tuple(
        Change(target=target, edit=Edit(fix=NAME), why=why + describe_missing_nodes(evidence))
        for target, why in targets
    )


# -- refusals -------------------------------------------------------------------------------------


def _reached_by_ipv6(evidence: Evidence) -> Refusal | None:
    """Nodes, the API server, or Calico's datastore, that would not be reached any more."""
    peers = evidence.api_addresses
    if isinstance(peers, Unseen):
        return Refusal(reason=f"how nodes reach the API server could not be seen: {peers.reason}")
    lost = [
        f"node {node.name}: InternalIP {node.addresses[0]}"
        for node in list_nodes(evidence)
        if node.addresses and _is_six(node.addresses[0])
    ]
    host = urlsplit(evidence.server).hostname or ""
    if _is_six(host):
        lost.append(f"API server: {evidence.server}")
    lost += [f"API server behind the Service kubernetes: {one}" for one in peers if _is_six(one)]
    calico = evidence.calico
    etcd = () if isinstance(calico, Unseen) or calico is None else calico.etcd
    lost += [f"Calico's etcd: {one}" for one in etcd if _is_six(urlsplit(one).hostname or "")]
    if not lost:
        return None
    return Refusal(
        reason="the cluster itself speaks IPv6: without it these would be cut off",
        objects=tuple(lost),
        next_step="give nodes and API server IPv4 addresses first (kubelet --node-ip), or leave "
        "the hosts alone: `mirror fix dns pod-sysctl` mends pods",
    )


def _is_six(text: str) -> bool:
    try:
        return ip_address(text).version == 6
    except ValueError:
        return False


def _calico(evidence: Evidence) -> Refusal | None:
    """An operator that keeps calico-node looking for an IPv6 address that will not be there."""
    calico = evidence.calico
    if isinstance(calico, Unseen):
        return Refusal(reason=f"whether Calico needs IPv6 could not be seen: {calico.reason}")
    if calico is None or not calico.operator or calico.get_env("IP6") != "autodetect":
        return None
    return Refusal(
        reason="calico-node looks for an IPv6 address (IP6=autodetect) and, on a node that joins "
        "later, would end with `failed to autodetect an IPv6 address`; an operator owns it",
        objects=("Installation default (operator.tigera.io/v1)",),
        next_step="kubectl edit installation default: take nodeAddressAutodetectionV6 and the IPv6 "
        "pool out, then run this again",
    )


def _overruled(seen: dict[str, HostView], *, adopt: bool) -> Refusal | None:
    """Lines read after ours at boot that say otherwise."""
    lines = [
        f"node {node}: {one.path}: {one.line.strip()}"
        for node, view in seen.items()
        for one in view.sysctl_lines
        if (one.path == _LAST and not adopt) or (one.path > BOOT_FILE and one.path != _LAST)
        if (found := _ENTRY.match(one.line)) and found[2] != ("0" if found[1] == "lo" else "1")
    ]
    if not lines:
        return None
    return Refusal(
        reason="settings that are read after this fix's own would undo it at the next boot",
        objects=tuple(lines),
        next_step="remove these lines, or take those of /etc/sysctl.conf over with --adopt",
    )


def _by_hand(lines: list[SysctlLine]) -> str:
    """What to say of lines that are read after ours and say the same."""
    if not lines:
        return ""
    note = "; lines that were put into /etc/sysctl.conf by hand stay"
    told = [found[1] for one in lines if (found := _ENTRY.match(one.line))]
    if "all" in told and "lo" not in told[told.index("all") :]:
        note += ", and take ::1 away at boot (--adopt takes them over)"
    return note


def _autodetection(evidence: Evidence) -> list[tuple[Target, str]]:
    """calico-node by manifest that would not start on a node without an IPv6 address."""
    calico = evidence.calico
    if isinstance(calico, Unseen) or calico is None or not calico.installed:
        return []
    target = ObjectSpec(kind="DaemonSet", namespace=calico.namespace, name="calico-node")
    return [
        (
            target,
            "IP6=none: with autodetect a node that joins later would fail; calico-node restarts, "
            "node by node",
        )
    ]


# -- edits ----------------------------------------------------------------------------------------


def edit(edit: Edit, target: Target, content: bytes | None) -> bytes | None:  # noqa: ARG001
    """What each of the targets becomes."""
    match target:
        case NodeFile(path=path) if path == _LAST:
            return _without_entries(content)
        case NodeFile():
            return BOOT_TEXT.encode()
        case NodeSysctl():
            if content is None:
                raise CannotEdit("the kernel has no such setting any more")
            return b"1\n"
        case ConfigMapKey():
            return render_orders().encode()
        case ObjectSpec(name=name) if name == RUNBOOK_DAEMONSET[2]:
            return None
        case ObjectSpec():
            return _no_autodetection(content)
    raise CannotEdit(f"{target} is nothing that this fix changes")


def render_orders() -> str:
    """What an agent does by itself when it starts, as mirror.agent.node_defaults reads it."""
    made = [
        {"target": BOOT_FILE, "content": BOOT_TEXT},
        {"target": DEFAULT_KEY, "content": "1\n"},
        {"target": ALL_KEY, "content": "1\n"},
    ]
    return json.dumps(made, indent=1) + "\n"


def _without_entries(content: bytes | None) -> bytes | None:
    if content is None:
        return None
    lines = content.decode(errors="surrogateescape").splitlines(keepends=True)
    kept = "".join(line for line in lines if not _ENTRY.match(line.rstrip("\r\n")))
    return kept.encode(errors="surrogateescape")


def _no_autodetection(content: bytes | None) -> bytes | None:
    if content is None:
        return None
    spec = json.loads(content)
    changed = False
    for container in spec["template"]["spec"]["containers"]:
        for one in container.get("env", ()):
            if one["name"] == "IP6" and one.get("value") == "autodetect":
                one["value"] = "none"
                changed = True
    return encode_spec(spec) if changed else content


FIX = Fix(
    name=NAME,
    order=40,
    summary="hosts have no IPv6 but ::1, now and after a boot",
    impact="the network of every host: all that runs there outside of pods loses its IPv6 "
    "addresses and routes (they are kept, and given back); connections over IPv6 end",
    needs=frozenset({Need.NODES, Need.HOSTS, Need.CALICO, Need.API_ADDRESSES}),
    plan_changes=plan_changes,
    edit=edit,
    resolved_checks=("hosts.off", "hosts.covered"),
    options=(
        FixOption(
            name="adopt",
            help="Take over what a runbook left: its lines in /etc/sysctl.conf and its DaemonSet "
            "kube-system/disable-ipv6.",
        ),
    ),
)
