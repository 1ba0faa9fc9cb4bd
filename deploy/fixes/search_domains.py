"""Names that only search expansion makes, answered NXDOMAIN where a provider answers everything.

musl ends its search at an answer without an address, and then never asks for the name itself
(docs/fixes.md). Only names with two or more labels before the suffix are guarded: the single-label
hosts of a home domain go on to resolve.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from deploy.changes.coredns_target import (
    choose_target,
    describe_caveats,
    expect_cluster_names,
    find_cluster_zones,
    read_target_text,
)
from deploy.changes.fix import Fix, FixOption, FixOptions, Refusal
from deploy.changes.model import CannotEdit, Change, ConfigMapKey, Edit, Target
from deploy.evidence.model import Evidence, Need
from deploy.evidence.unseen import Unseen
from deploy.formats import corefile, template_plugin
from deploy.formats.corefile import CorefileBlock, CorefileError, Directive
from deploy.formats.domain import parse_domain
from mirror.core.errors import InputError
from mirror.probe.model import ExpectedAnswer, PodDns

NAME = "search-domains"
_STOPS = frozenset({"NOERROR", "SERVFAIL", "REFUSED"})  # answers at which a musl program gives up


def plan_changes(
    evidence: Evidence, options: FixOptions, held: tuple[Change, ...]
) -> tuple[Change, ...] | Refusal:
    """One change, for all suffixes together: the Corefile, or a file of coredns-custom."""
    core, pods = evidence.coredns, evidence.pod_dns
    if isinstance(core, Unseen):
        return Refusal(reason=f"CoreDNS' configuration could not be seen: {core.reason}")
    if core is None:
        return Refusal(
            reason="no ConfigMap in kube-system holds a Corefile",
            next_step="mirror attach KIND/NAME --ndots mends one workload without it",
        )
    if isinstance(pods, Unseen):
        return Refusal(reason=f"no pod could ask for made-up names: {pods.reason}")
    views = {one.node: one.view for one in pods if not isinstance(one.view, Unseen)}
    if not views:
        return Refusal(
            reason="no pod could ask for made-up names on any node",
            objects=tuple(f"{o.node}: {o.view.reason}" for o in pods if isinstance(o.view, Unseen)),
        )
    before = {s for change in held for s in change.edit.options["suffixes"]}
    found = _poisoned(views, find_cluster_zones(core.text))
    suffixes = sorted({*found, *before})
    if not suffixes:
        told = sorted({s.suffix for view in views.values() for s in view.suffixes})
        unseen = [
            f"not seen: {o.node}: {o.view.reason}" for o in pods if isinstance(o.view, Unseen)
        ]
        return Refusal(
            reason="every search domain says NXDOMAIN to made-up names: nothing to mend",
            objects=(*told, *unseen),
            needless=True,
        )
    asked = options.get("keep-name") or tuple(k for c in held for k in c.edit.options["keep"])
    wanted = {"suffixes": suffixes, "keep": _kept(asked, suffixes)}
    target = choose_target(core)
    made = Edit(fix=NAME, options=wanted)
    try:
        after = edit(made, target, read_target_text(core, target))
    except CannotEdit as reason:
        return Refusal(reason=str(reason), objects=(str(target),))
    if after == read_target_text(core, target) and not held:
        return Refusal(
            reason=f"{', '.join(suffixes)} is guarded in {target} already, and is not taken up",
            next_step="restart CoreDNS: kubectl -n kube-system rollout restart deployment/coredns",
            needless=True,
        )
    return (
        Change(
            target=target, edit=made, why=_why(found, suffixes, wanted) + describe_caveats(core)
        ),
    )


def _poisoned(views: Mapping[str, PodDns], own: tuple[str, ...]) -> dict[str, list[str]]:
    """Suffix → the nodes whose pods are told that everything under it exists."""
    found: dict[str, list[str]] = {}
    for node, view in views.items():
        for one in view.suffixes:
            suffix = one.suffix.lower().rstrip(".")
            if one.expanded.code not in _STOPS or any(
                template_plugin.is_zone_of(z, suffix) for z in own
            ):
                continue
            found.setdefault(parse_domain(suffix), []).append(node)
    return found


def _kept(names: FixOptions | tuple[str, ...], suffixes: list[str]) -> list[str]:
    kept = sorted({parse_domain(one) for one in names})
    for one in kept:
        if not any(one.endswith(f".{suffix}") for suffix in suffixes):
            raise InputError(
                f"--keep-name {one} is under no search domain that is guarded",
                why="guarded: " + ", ".join(suffixes),
                next_step=f"give a name such as nas.{suffixes[0]}, or leave it out",
            )
    return kept


def _why(found: Mapping[str, list[str]], suffixes: list[str], wanted: Mapping[str, Any]) -> str:
    told = [
        f"{suffix} answers made-up names on {', '.join(found[suffix])}"
        if suffix in found
        else f"{suffix} stays guarded"
        for suffix in suffixes
    ]
    kept = f"; kept: {', '.join(wanted['keep'])}" if wanted["keep"] else ""
    return "; ".join(told) + kept


# -- the edit -------------------------------------------------------------------------------------


def edit(edit: Edit, target: Target, content: bytes | None) -> bytes | None:
    """A guard for each suffix, in the server block that answers for it, once."""
    assert isinstance(target, ConfigMapKey)
    text = (content or b"").decode()
    try:
        for suffix in edit.options["suffixes"]:
            keep = [one for one in edit.options["keep"] if one.endswith(f".{suffix}")]
            text = _guard(text, suffix, keep, fragment=target.key != "Corefile")
    except CorefileError as broken:
        raise CannotEdit(f"the Corefile cannot be read: {broken}") from broken
    return text.encode()


def _guard(text: str, suffix: str, keep: list[str], *, fragment: bool) -> str:
    lines = template_plugin.render_block(
        NAME,
        f"what search expansion makes under {suffix} does not exist",
        f"ANY ANY {suffix}",
        [f"match {template_plugin.match_expanded(suffix, keep)}", "rcode NXDOMAIN", "fallthrough"],
    )
    if fragment:
        block = corefile.parse_fragment(text)
        if any(_guards(one, block, suffix) for one in block.find("template")):
            return text
        return corefile.insert_lines(text, len(text), lines, "")
    for block in reversed(_serving(text, suffix)):
        found = corefile.parse(text).effective_directives(block)
        if not any(_guards(one, block, suffix) for one in found):
            # before other templates: what answers every AAAA must not answer these
            text = template_plugin.insert_block(
                text, block, lines, before=("template", "forward", "proxy")
            )
    return text


def _serving(text: str, suffix: str) -> tuple[CorefileBlock, ...]:
    """The server blocks that answer for a name under the suffix: those of the nearest zone."""
    blocks = corefile.parse(text).server_blocks
    zones = {z for block in blocks for z in block.zones if template_plugin.is_zone_of(z, suffix)}
    if not zones:
        raise CannotEdit(f"no server block of the Corefile answers for {suffix}")
    nearest = max(zones, key=lambda zone: 0 if zone == "." else zone.count(".") + 1)
    return tuple(block for block in blocks if nearest in block.zones)


def _guards(one: Directive, block: CorefileBlock, suffix: str) -> bool:
    """Whether a template says NXDOMAIN to what search expansion makes: ours, or by hand."""
    if one.name != "template" or not template_plugin.answers_only(one, "A", "NXDOMAIN"):
        return False
    if not any(
        template_plugin.is_zone_of(zone, suffix) for zone in template_plugin.get_zones(one, block)
    ):
        return False
    return template_plugin.matches_everything(one) or any(
        _matches(pattern, f"pypi-mirror-proof.example.{suffix}.")
        for pattern in template_plugin.get_patterns(one)
    )


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except re.error:  # Go's syntax is not wholly Python's
        return False


def expected_answers(made: tuple[Change, ...], evidence: Evidence) -> tuple[ExpectedAnswer, ...]:
    """The shape that search expansion makes does not exist; the cluster's own names do."""
    suffixes = [suffix for change in made for suffix in change.edit.options["suffixes"]]
    asked = (f"pypi-mirror-proof.example.{suffix}" for suffix in suffixes)
    return (
        *(ExpectedAnswer(name=name, qtype="A", answer="NXDOMAIN") for name in asked),
        *expect_cluster_names(evidence),
    )


FIX = Fix(
    name=NAME,
    order=10,
    summary="search domains that answer everything are guarded by CoreDNS",
    impact="every pod of the cluster: names with two or more labels before a guarded search domain "
    "do not exist for it any more (a.b.SUFFIX; host.SUFFIX still resolves; --keep-name NAME keeps "
    "more)",
    needs=frozenset({Need.COREDNS, Need.NODES, Need.DNS_SERVICE, Need.DNS_PODS, Need.POD_DNS}),
    plan_changes=plan_changes,
    edit=edit,
    resolved_checks=("dns.search-domains",),
    options=(
        FixOption(
            name="keep-name",
            kind="list",
            metavar="NAME",
            help="search-domains: this name, and all below it, goes on to resolve.",
        ),
    ),
    expected_answers=expected_answers,
)
