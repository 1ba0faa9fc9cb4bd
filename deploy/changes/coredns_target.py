"""The text of CoreDNS that its fixes change, and the answers and caveats they share. Pure."""

from __future__ import annotations

from collections.abc import Callable

from deploy.changes.fix import Refusal
from deploy.changes.model import CannotEdit, Change, ConfigMapKey, Edit, Target
from deploy.evidence.coredns import CoreDns
from deploy.evidence.model import Evidence
from deploy.evidence.unseen import Unseen
from deploy.formats import corefile
from deploy.formats.corefile import CorefileError
from mirror.probe.model import ExpectedAnswer


def require_coredns(evidence: Evidence, otherwise: str) -> CoreDns | Refusal:
    """Return CoreDNS, or a Refusal; its next step is ``otherwise`` if there is no Corefile."""
    coredns = evidence.coredns
    if isinstance(coredns, Unseen):
        return Refusal(reason=f"the configuration of CoreDNS could not be read: {coredns.reason}")
    if coredns is None:
        return Refusal(reason="no ConfigMap in kube-system has a Corefile", next_step=otherwise)
    return coredns


def choose_target(coredns: CoreDns) -> ConfigMapKey:
    """Return the Corefile, or coredns-custom if it is imported and is the safer place."""
    name, key = coredns.name, "Corefile"
    if coredns.imports and (coredns.custom is not None or coredns.owner):
        name, key = "coredns-custom", "pypi-mirror.override"
    return ConfigMapKey(namespace=coredns.namespace, name=name, key=key)


def read_target_text(coredns: CoreDns, target: ConfigMapKey) -> bytes | None:
    """Return the content of a target from the evidence."""
    texts = {file.key: file.text for file in coredns.custom or ()} | {"Corefile": coredns.text}
    return texts[target.key].encode() if target.key in texts else None


def try_change(
    edit: Callable[[Edit, Target, bytes | None], bytes | None],
    change: Change,
    coredns: CoreDns,
    applied: tuple[Change, ...],
) -> tuple[Change, ...] | Refusal:
    """Return the change; nothing if others have made it already; a Refusal if it is impossible."""
    target = change.target
    assert isinstance(target, ConfigMapKey)
    before = read_target_text(coredns, target)
    try:
        differs = edit(change.edit, target, before) != before
    except CannotEdit as error:
        return Refusal(reason=str(error), objects=(str(target),))
    return (change,) if differs or applied else ()


def describe_caveats(coredns: CoreDns) -> str:
    """Return what may limit a change to this CoreDNS; empty if nothing does."""
    text = ""
    if coredns.node_cache:
        text += (
            ". NodeLocal DNSCache (kube-system/node-local-dns) answers pods before CoreDNS does: "
            "names outside the cluster may never reach CoreDNS"
        )
    if coredns.owner and choose_target(coredns).key == "Corefile":
        text += (
            f". {coredns.owner} may revert the Corefile: `mirror status` then reports it as drifted"
        )
    return text


def expect_cluster_names(evidence: Evidence) -> tuple[ExpectedAnswer, ...]:
    """Expect that the API server's own name still has an address."""
    coredns = evidence.coredns
    if isinstance(coredns, Unseen) or coredns is None:
        return ()
    return tuple(
        ExpectedAnswer(name=f"kubernetes.default.svc.{zone}", qtype="A", answer="exists")
        for zone in find_cluster_zones(coredns.text)
    )


def find_cluster_zones(text: str) -> tuple[str, ...]:
    """Return the zones that the `kubernetes` plugin serves, without those for PTR records."""
    try:
        parsed = corefile.parse(text)
    except CorefileError:
        return ()
    directives = [found for block in parsed.blocks for found in block.find("kubernetes")]
    zones = [zone.lower().rstrip(".") for directive in directives for zone in directive.args]
    return tuple(dict.fromkeys(zone for zone in zones if not zone.endswith(".arpa")))
