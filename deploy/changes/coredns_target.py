"""What fixes of CoreDNS have in common: which text they change, and what has to be said of it."""

from __future__ import annotations

from deploy.changes.model import ConfigMapKey
from deploy.evidence.coredns import CoreDns
from deploy.evidence.model import Evidence
from deploy.evidence.unseen import Unseen
from deploy.formats import corefile
from deploy.formats.corefile import CorefileError
from mirror.probe.model import ExpectedAnswer


def choose_target(core: CoreDns) -> ConfigMapKey:
    """coredns-custom where there is one, or where its owner would put the Corefile back."""
    if core.imports and (core.custom is not None or core.owner):
        return ConfigMapKey(
            namespace=core.namespace, name="coredns-custom", key="pypi-mirror.override"
        )
    return ConfigMapKey(namespace=core.namespace, name=core.name, key="Corefile")


def read_target_text(core: CoreDns, target: ConfigMapKey) -> bytes | None:
    """What stands in a target of CoreDNS', by the evidence."""
    if target.key == "Corefile":
        return core.text.encode()
    return next((one.text.encode() for one in core.custom or () if one.key == target.key), None)


def describe_caveats(core: CoreDns) -> str:
    """What has to be said of this CoreDNS before it is changed."""
    told = ""
    if core.node_cache:
        told += (
            ". NodeLocal DNSCache (kube-system/node-local-dns) answers pods before CoreDNS does: "
            "names outside of the cluster may never get to it"
        )
    if core.owner and choose_target(core).key == "Corefile":
        told += f". {core.owner} may put its own Corefile back: `mirror status` then says drifted"
    return told


def expect_cluster_names(evidence: Evidence) -> tuple[ExpectedAnswer, ...]:
    """The API server's own name still has its address."""
    core = evidence.coredns
    if isinstance(core, Unseen) or core is None:
        return ()
    zones = find_cluster_zones(core.text)
    return tuple(
        ExpectedAnswer(name=f"kubernetes.default.svc.{z}", qtype="A", answer="exists")
        for z in zones
    )


def find_cluster_zones(text: str) -> tuple[str, ...]:
    """The zones of the cluster's own names, by the `kubernetes` plugin."""
    try:
        found = corefile.parse(text)
    except CorefileError:
        return ()
    named = [z for b in found.blocks for one in b.find("kubernetes") for z in one.args]
    plain = [zone.lower().rstrip(".") for zone in named]
    return tuple(dict.fromkeys(zone for zone in plain if not zone.endswith(".arpa")))
