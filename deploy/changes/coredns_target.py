"""The text of CoreDNS that its fixes change, and the answers and caveats they share. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

from deploy.changes.fix import Refusal
from deploy.changes.model import CannotEdit, Change, ConfigMapKey, Edit, Target
from deploy.evidence.coredns import OVERRIDE_SUFFIX, CoreDns, is_override_pattern
from deploy.evidence.model import Evidence
from deploy.evidence.unseen import Unseen
from deploy.formats import corefile
from deploy.formats.corefile import CorefileError, Directive
from deploy.manifests.agent import SYSTEM_NAMESPACE
from mirror.probe.model import ExpectedAnswer


def require_coredns(evidence: Evidence, otherwise: str) -> CoreDns | Refusal:
    """Return CoreDNS, or a Refusal; its next step is ``otherwise`` if there is no Corefile."""
    coredns = evidence.coredns
    if isinstance(coredns, Unseen):
        return Refusal(reason=f"the configuration of CoreDNS could not be read: {coredns.reason}")
    if coredns is None:
        return Refusal(
            reason="no Corefile was found in kube-system: the pods behind the DNS Service mount no "
            "ConfigMap that has one, and there is no ConfigMap coredns",
            next_step=otherwise,
        )
    return coredns


def choose_target(coredns: CoreDns) -> ConfigMapKey:
    """Return the Corefile, or coredns-custom if it is imported and is the safer place."""
    name, key = coredns.name, "Corefile"
    if coredns.imports and (coredns.custom is not None or coredns.owner):
        name, key = "coredns-custom", "pypi-mirror.override"
    return ConfigMapKey(namespace=coredns.namespace, name=name, key=key)


def may_target(target: Target) -> bool:
    """Return whether fixes of CoreDNS ever edit this: a key of a ConfigMap beside CoreDNS."""
    return isinstance(target, ConfigMapKey) and target.namespace == SYSTEM_NAMESPACE


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


def is_override(key: str) -> bool:
    """Whether a key of coredns-custom is imported into the server block of the root zone."""
    return key.endswith(OVERRIDE_SUFFIX)


def is_override_import(directive: Directive) -> bool:
    """Whether a directive imports every override file of coredns-custom."""
    is_import = directive.name == "import" and bool(directive.args)
    return is_import and is_override_pattern(directive.args[0])


def describe_caveats(coredns: CoreDns) -> str:
    """Return what may limit a change to this CoreDNS; empty if nothing does."""
    text = ""
    if coredns.node_cache:
        text += (
            ". NodeLocal DNSCache (kube-system/node-local-dns) answers pods before CoreDNS does: "
            "names outside the cluster may never reach CoreDNS"
        )
    if choose_target(coredns).key == "Corefile":
        comment = find_ownership_comment(coredns.text)
        if coredns.owner:
            text += (
                f". {coredns.owner} may revert the Corefile: `mirror status` then reports it as "
                "drifted"
            )
        elif comment:
            text += (
                f'. A comment in the Corefile says "{comment}": who wrote it may revert the '
                "change, and `mirror status` then reports it as drifted"
            )
    return text


_OWNERSHIP = re.compile(
    r"\b(managed|maintained|generated|kept|owned|controlled|rendered|written) (by|from|with)\b"
    r"|\bdo not (edit|change|modify)\b|\bdon't (edit|change|modify)\b|\bauto-?generated\b"
    r"|\b(will|may|can|might) be (lost|overwritten|replaced|reverted|undone)\b|\boverwrit"
    r"|\boperator\b",
    re.IGNORECASE,
)


def find_ownership_comment(text: str) -> str | None:
    """Return the first comment line that says that something else writes this Corefile."""
    for line in text.splitlines():
        comment = line.strip().lstrip("#").strip()
        if line.lstrip().startswith("#") and _OWNERSHIP.search(comment):
            return comment
    return None


def expect_cluster_names(evidence: Evidence) -> tuple[ExpectedAnswer, ...]:
    """Expect that the API server's own name still has an address."""
    coredns = evidence.coredns
    if isinstance(coredns, Unseen) or coredns is None:
        return ()
    return tuple(
        ExpectedAnswer(name=f"kubernetes.default.svc.{zone}", qtype="A", answer="exists")
        for zone in find_cluster_zones(coredns)
    )


def find_cluster_zones(coredns: CoreDns) -> tuple[str, ...]:
    """Return the zones that the `kubernetes` plugin serves, without those for PTR records.

    Zones that are variables are read from the environment of CoreDNS, or left out.
    """
    try:
        parsed = corefile.parse(coredns.text)
    except CorefileError:
        return ()
    directives = [found for block in parsed.blocks for found in block.find("kubernetes")]
    words = [
        corefile.replace_variables(word, coredns.environment)
        for directive in directives
        for word in directive.args
    ]
    zones = [zone.lower().rstrip(".") for zone in words if not corefile.find_variable(zone)]
    return tuple(dict.fromkeys(zone for zone in zones if not zone.endswith(".arpa")))
