"""`mirror fix host-sysctl`: IPv6 off on hosts now, at boot, and on nodes that join; `::1` stays."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from deploy.changes.cni_targets import (
    describe_missing_nodes,
    is_calico_node,
    list_nodes,
    read_ready_nodes,
)
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
from mirror.agent.allowlist import (
    BOOT_FILE,
    DISABLE_IPV6_ALL,
    DISABLE_IPV6_DEFAULT,
    DISABLE_IPV6_LOOPBACK,
    SYSCTL_CONF,
    remove_ipv6_entries,
)
from mirror.agent.node_defaults import SCHEMA
from mirror.merge import encode_spec

NAME = "host-sysctl"
# nodes have this text: with another one, `mirror status` would call them drifted
BOOT_TEXT = (
    "# IPv6 off but for ::1: `mirror fix host-sysctl`; `mirror rollback host-sysctl` removes it\n"
    f"{DISABLE_IPV6_ALL} = 1\n{DISABLE_IPV6_DEFAULT} = 1\n{DISABLE_IPV6_LOOPBACK} = 0\n"
)
# installed by hand
_RUNBOOK_DAEMONSET = ObjectSpec(kind="DaemonSet", namespace="kube-system", name="disable-ipv6")
_ENTRY = re.compile(r"^\s*-?net[./]ipv6[./]conf[./](all|default|lo)[./]disable_ipv6\s*=\s*(\d)\s*$")


def plan_changes(
    evidence: Evidence,
    options: FixOptions,
    applied: tuple[Change, ...],  # noqa: ARG001 - the same nodes, and those that joined since
) -> tuple[Change, ...] | Refusal:
    """Return changes to calico-node, to the defaults for nodes that join, then to each node."""
    views = read_ready_nodes(evidence)
    if isinstance(views, Refusal):
        return views
    adopt = bool(options.get("adopt"))
    refusal = (
        _refuse_ipv6_cluster(evidence)
        or _refuse_autodetection(evidence)
        or _refuse_overrides(views, adopt=adopt)
    )
    if refusal:
        return refusal
    with_ipv6 = {n: v for n, v in views.items() if v.get_disable_ipv6("all") is not None}
    if not with_ipv6:
        return Refusal(
            reason="no node's kernel has IPv6: there is nothing to turn off", needless=True
        )
    targets = [*_cluster_targets(evidence, adopt=adopt)]
    for node, view in with_ipv6.items():
        targets += _node_targets(node, view, adopt=adopt)
    edit, missing = Edit(fix=NAME), describe_missing_nodes(evidence)
    return tuple(Change(target=target, edit=edit, why=why + missing) for target, why in targets)


def _cluster_targets(evidence: Evidence, *, adopt: bool) -> Iterable[tuple[Target, str]]:
    calico = evidence.calico
    if not isinstance(calico, Unseen) and calico is not None and calico.installed:
        yield (
            ObjectSpec(kind="DaemonSet", namespace=calico.namespace, name="calico-node"),
            "IP6=none: with autodetect it would fail on a node that joins later; calico-node "
            "restarts, node by node",
        )
    if adopt:
        yield _RUNBOOK_DAEMONSET, "the runbook's DaemonSet is removed: this fix replaces it"
    yield (
        ConfigMapKey(namespace=SYSTEM_NAMESPACE, name=NODE_DEFAULTS_MAP, key=NODE_DEFAULTS_KEY),
        "nodes that join later get the same when their agent starts",
    )


def _node_targets(node: str, view: HostView, *, adopt: bool) -> Iterable[tuple[Target, str]]:
    manual = [line for line in view.sysctl_lines if line.path == SYSCTL_CONF]
    yield NodeFile(node=node, path=BOOT_FILE), f"off at boot{_describe_manual_lines(manual)}"
    if manual and adopt:
        sysctl_conf = NodeFile(node=node, path=SYSCTL_CONF)
        yield sysctl_conf, "the runbook's lines are removed: sysctl.d has them"
    yield NodeSysctl(node=node, key=DISABLE_IPV6_DEFAULT), "off on future links"
    yield NodeSysctl(node=node, key=DISABLE_IPV6_ALL), "off now; ::1 stays"


def _describe_manual_lines(lines: list[SysctlLine]) -> str:
    """Return a note on later lines that set the same values as ours; empty if there are none."""
    if not lines:
        return ""
    note = "; lines that were added to /etc/sysctl.conf by hand stay"
    links = [match[1] for line in lines if (match := _ENTRY.match(line.line))]
    if "all" in links and "lo" not in links[links.index("all") :]:
        note += ", and remove ::1 at boot (--adopt takes them over)"
    return note


# -- refusals -------------------------------------------------------------------------------------


def _refuse_ipv6_cluster(evidence: Evidence) -> Refusal | None:
    """Refuse if nodes, the API server or Calico's datastore would become unreachable."""
    endpoints = evidence.api_addresses
    if isinstance(endpoints, Unseen):
        return Refusal(
            reason=f"how nodes reach the API server could not be seen: {endpoints.reason}"
        )
    lost = [
        f"node {node.name}: InternalIP {node.addresses[0]}"
        for node in list_nodes(evidence)
        if node.addresses and _is_ipv6(node.addresses[0])
    ]
    if _is_ipv6(urlsplit(evidence.server).hostname or ""):
        lost.append(f"API server: {evidence.server}")
    ipv6 = [address for address in endpoints if _is_ipv6(address)]
    lost += [f"API server behind the Service kubernetes: {address}" for address in ipv6]
    calico = evidence.calico
    etcd = () if isinstance(calico, Unseen) or calico is None else calico.etcd
    lost += [f"Calico's etcd: {url}" for url in etcd if _is_ipv6(urlsplit(url).hostname or "")]
    if not lost:
        return None
    return Refusal(
        reason="the cluster itself uses IPv6: without it these would be cut off",
        objects=tuple(lost),
        next_step="give nodes and API server IPv4 addresses first (kubelet --node-ip), or leave "
        "the hosts alone: `mirror fix dns pod-sysctl` fixes pods",
    )


def _is_ipv6(text: str) -> bool:
    try:
        return ip_address(text).version == 6
    except ValueError:
        return False


def _refuse_autodetection(evidence: Evidence) -> Refusal | None:
    """Refuse if an operator has calico-node look for an IPv6 address that will not exist."""
    calico = evidence.calico
    if isinstance(calico, Unseen):
        return Refusal(reason=f"whether Calico needs IPv6 could not be seen: {calico.reason}")
    if calico is None or not calico.operator or calico.get_env("IP6") != "autodetect":
        return None
    return Refusal(
        reason="calico-node looks for an IPv6 address (IP6=autodetect) and, on a node that joins "
        "later, would end with `failed to autodetect an IPv6 address`; an operator owns it",
        objects=("Installation default (operator.tigera.io/v1)",),
        next_step="kubectl edit installation default: remove nodeAddressAutodetectionV6 and the "
        "IPv6 pool, then run this again",
    )


def _refuse_overrides(views: dict[str, HostView], *, adopt: bool) -> Refusal | None:
    """Refuse if settings that are read after ours at boot contradict them."""
    lines = [
        f"node {node}: {line.path}: {line.line.strip()}"
        for node, view in views.items()
        for line in view.sysctl_lines
        if (not adopt if line.path == SYSCTL_CONF else line.path > BOOT_FILE)
        and _contradicts(line.line)
    ]
    if not lines:
        return None
    return Refusal(
        reason="settings that are read after this fix's own would undo it at the next boot",
        objects=tuple(lines),
        next_step="remove these lines, or take those of /etc/sysctl.conf over with --adopt",
    )


def _contradicts(line: str) -> bool:
    match = _ENTRY.match(line)
    return match is not None and match[2] != ("0" if match[1] == "lo" else "1")


# -- edits ----------------------------------------------------------------------------------------


def edit(edit: Edit, target: Target, content: bytes | None) -> bytes | None:  # noqa: ARG001
    """Return the new content of each kind of target."""
    match target:
        case NodeFile(path=path) if path == SYSCTL_CONF:
            return None if content is None else remove_ipv6_entries(content)
        case NodeFile():
            return BOOT_TEXT.encode()
        case NodeSysctl():
            if content is None:
                raise CannotEdit("the kernel does not have this setting any more")
            return b"1\n"
        case ConfigMapKey():
            is_earlier = content == render_defaults(schema=None).encode()
            return content if is_earlier else render_defaults().encode()
        case ObjectSpec(name=_RUNBOOK_DAEMONSET.name):
            return None
        case ObjectSpec():
            return _disable_autodetection(content)
    raise CannotEdit(f"{target} is not a target of this fix")


def render_defaults(schema: int | None = SCHEMA) -> str:
    """Return the node defaults that each agent applies when it starts (see mirror.agent).

    ``schema`` None: as version 0.1.0 wrote them, which agents of both versions read.
    """
    number = {} if schema is None else {"schema": schema}
    defaults = [
        {**number, "target": BOOT_FILE, "content": BOOT_TEXT},
        {**number, "target": DISABLE_IPV6_DEFAULT, "content": "1\n"},
        {**number, "target": DISABLE_IPV6_ALL, "content": "1\n"},
    ]
    return json.dumps(defaults, indent=1) + "\n"


def _disable_autodetection(content: bytes | None) -> bytes | None:
    if content is None:
        return None
    spec = json.loads(content)
    changed = False
    for container in spec["template"]["spec"]["containers"]:
        for variable in container.get("env", ()):
            if variable["name"] == "IP6" and variable.get("value") == "autodetect":
                variable["value"] = "none"
                changed = True
    return encode_spec(spec) if changed else content


def may_target(target: Target) -> bool:
    """Return whether the fix ever changes this."""
    match target:
        case NodeFile(path=path):
            return path in {BOOT_FILE, SYSCTL_CONF}
        case NodeSysctl(key=key):
            return key in {DISABLE_IPV6_ALL, DISABLE_IPV6_DEFAULT}
        case ConfigMapKey():
            place = (target.namespace, target.name, target.key)
            return place == (SYSTEM_NAMESPACE, NODE_DEFAULTS_MAP, NODE_DEFAULTS_KEY)
    return is_calico_node(target) or target == _RUNBOOK_DAEMONSET


def owns(target: Target) -> bool:
    """Return whether this fix is the only writer of a target.

    True for the ConfigMap of the node defaults, and for the fix's own file in sysctl.d.
    """
    if isinstance(target, NodeFile):
        return target.path == BOOT_FILE
    return isinstance(target, ConfigMapKey) and target.name == NODE_DEFAULTS_MAP


FIX = Fix(
    name=NAME,
    order=40,
    summary="hosts have no IPv6 but ::1, now and after a boot",
    impact="the network of every host: everything that runs there outside of pods loses its IPv6 "
    "addresses and routes (they are stored, and restored by a rollback); connections over IPv6 end",
    needs=frozenset({Need.NODES, Need.HOSTS, Need.CALICO, Need.API_ADDRESSES}),
    plan_changes=plan_changes,
    edit=edit,
    may_target=may_target,
    owns=owns,
    resolved_checks=("hosts.off", "hosts.covered"),
    options=(
        FixOption(
            name="adopt",
            help="Take over what a runbook left: its lines in /etc/sysctl.conf and its DaemonSet "
            "kube-system/disable-ipv6.",
        ),
    ),
)
