"""`mirror fix search-domains`: NXDOMAIN for names that only search expansion creates.

Some providers answer every name under a search domain. musl stops its search at an answer without
an address and never queries the name as it is (docs/fixes.md). Only names with two or more labels
before the search domain are guarded: single-label hosts of a home domain still resolve.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from deploy.changes.coredns_target import (
    choose_target,
    describe_caveats,
    expect_cluster_names,
    find_cluster_zones,
    may_target,
    require_coredns,
    try_change,
)
from deploy.changes.fix import Fix, FixOption, FixOptions, Refusal
from deploy.changes.model import CannotEdit, Change, ConfigMapKey, Edit, Target
from deploy.evidence.model import Evidence, Need
from deploy.evidence.probe_views import iter_probe_views
from deploy.evidence.unseen import Unseen
from deploy.formats import corefile, template_plugin
from deploy.formats.corefile import CorefileBlock, CorefileError, Directive, ExpandedDirectives
from deploy.formats.domain import parse_domain
from deploy.formats.template_chain import find_answering
from mirror.core.errors import InputError
from mirror.probe.model import ExpectedAnswer, PodDns

NAME = "search-domains"
_STOPS = frozenset({"NOERROR", "SERVFAIL", "REFUSED"})  # response codes at which musl gives up


def plan_changes(
    evidence: Evidence, options: FixOptions, applied: tuple[Change, ...]
) -> tuple[Change, ...] | Refusal:
    """Return one change for all search domains, to the Corefile or to a file of coredns-custom."""
    coredns = require_coredns(
        evidence, "mirror attach KIND/NAME --ndots fixes one workload without it"
    )
    if isinstance(coredns, Refusal):
        return coredns
    if isinstance(evidence.pod_dns, Unseen):
        return Refusal(reason=f"no pod could query made-up names: {evidence.pod_dns.reason}")
    views = dict(iter_probe_views(evidence))
    unseen = [f"{p.node}: {p.view.reason}" for p in evidence.pod_dns if isinstance(p.view, Unseen)]
    if not views:
        return Refusal(reason="no pod could query made-up names on any node", objects=tuple(unseen))
    answering = _find_answering(views, find_cluster_zones(coredns))
    guarded = {s for change in applied for s in change.edit.options["suffixes"]}
    suffixes = sorted({*answering, *guarded})
    if not suffixes:
        return Refusal(
            reason="every search domain answers made-up names with NXDOMAIN: nothing to fix",
            objects=(
                *sorted({s.suffix for view in views.values() for s in view.suffixes}),
                *(f"not seen: {line}" for line in unseen),
            ),
            needless=True,
        )
    names = options.get("keep-name") or [n for c in applied for n in c.edit.options["keep"]]
    keep = _parse_kept_names([*names, *_find_nested(views, suffixes)], suffixes)
    target = choose_target(coredns)
    edit_options = {"suffixes": suffixes, "keep": keep}
    why = _reason(answering, suffixes, keep) + describe_caveats(coredns)
    change = Change(target=target, edit=Edit(fix=NAME, options=edit_options), why=why)
    return try_change(edit, change, coredns, applied) or Refusal(
        reason=f"{', '.join(suffixes)}: guarded in {target} already, but CoreDNS has not loaded it",
        next_step="restart CoreDNS: kubectl -n kube-system rollout restart deployment/coredns",
        needless=True,
    )


def _find_answering(
    views: Mapping[str, PodDns], cluster_zones: tuple[str, ...]
) -> dict[str, list[str]]:
    """Return search domain → the nodes whose pods get an answer for every name under it."""
    answering: dict[str, list[str]] = {}
    for node, view in views.items():
        for search in view.suffixes:
            suffix = search.suffix.lower().rstrip(".")
            is_ours = any(template_plugin.is_zone_of(zone, suffix) for zone in cluster_zones)
            if search.expanded.code in _STOPS and not is_ours:
                answering.setdefault(parse_domain(suffix), []).append(node)
    return answering


def _find_nested(views: Mapping[str, PodDns], suffixes: list[str]) -> list[str]:
    """Return search domains that answer properly, but are inside of one that has to be guarded."""
    names = {
        search.suffix.lower().rstrip(".") for view in views.values() for search in view.suffixes
    }
    return [
        name
        for name in sorted(names - set(suffixes))
        if any(name.endswith(f".{suffix}") for suffix in suffixes)
    ]


def _parse_kept_names(names: Iterable[str], suffixes: list[str]) -> list[str]:
    kept = sorted({parse_domain(name) for name in names})
    for name in kept:
        if not any(name.endswith(f".{suffix}") for suffix in suffixes):
            raise InputError(
                f"--keep-name {name} is not under a guarded search domain",
                why="guarded: " + ", ".join(suffixes),
                next_step=f"give a name such as nas.{suffixes[0]}, or leave it out",
            )
    return kept


def _reason(answering: Mapping[str, list[str]], suffixes: list[str], keep: list[str]) -> str:
    parts = [
        f"{suffix} answers made-up names on {', '.join(answering[suffix])}"
        if suffix in answering
        else f"{suffix} stays guarded"
        for suffix in suffixes
    ]
    return "; ".join([*parts, *([f"kept: {', '.join(keep)}"] if keep else [])])


# -- the edit -------------------------------------------------------------------------------------


def edit(edit: Edit, target: Target, content: bytes | None) -> bytes | None:
    """Return the text with one guard per suffix, in the server block that answers for it."""
    assert isinstance(target, ConfigMapKey)
    text = (content or b"").decode()
    try:
        for suffix in edit.options["suffixes"]:
            # a search domain inside another one has its own guard, and hosts of its own
            kept = [*edit.options["keep"], *edit.options["suffixes"]]
            keep = [name for name in kept if name.endswith(f".{suffix}")]
            text = _add_guard(text, suffix, keep, fragment=target.key != "Corefile")
    except CorefileError as error:
        raise CannotEdit(f"the Corefile cannot be read: {error}") from error
    return text.encode()


def _add_guard(text: str, suffix: str, keep: list[str], *, fragment: bool) -> str:
    lines = template_plugin.render_block(
        NAME,
        f"what search expansion makes under {suffix} does not exist",  # part of applied Corefiles
        f"ANY ANY {suffix}",
        [f"match {template_plugin.match_expanded(suffix, keep)}", "rcode NXDOMAIN", "fallthrough"],
    )
    if fragment:
        block = corefile.parse_fragment(text)
        expanded: ExpandedDirectives = [(each, (each,)) for each in block.directives]
        anchor = _find_first_template(expanded)
        if _is_guarded(expanded, block, suffix):
            return text
        at = anchor.tokens[0].begin if anchor else len(text)
        return corefile.insert_lines(text, at, lines, "")
    for block in reversed(_find_serving_blocks(text, suffix)):
        expanded = corefile.parse(text).expand(block)
        if not _is_guarded(expanded, block, suffix):
            # before other templates: one that answers every AAAA must not answer these names
            anchor = _find_first_template(expanded)
            text = template_plugin.insert_block(text, block, lines, anchor)
    return text


def _find_first_template(
    expanded: ExpandedDirectives,
) -> Directive | None:
    """Return the first template of a block, or the `import` of the snippet that has it."""
    for directive, parts in expanded:
        if any(part.name == "template" for part in parts):
            return directive
    return None


def _find_serving_blocks(text: str, suffix: str) -> tuple[CorefileBlock, ...]:
    """Return the server blocks that answer names under the suffix: those of the nearest zone."""
    blocks = corefile.parse(text).server_blocks
    zones = {
        zone for block in blocks for zone in block.zones if template_plugin.is_zone_of(zone, suffix)
    }
    if not zones:
        raise CannotEdit(f"no server block of the Corefile answers for {suffix}")
    nearest = max(zones, key=lambda zone: 0 if zone == "." else zone.count(".") + 1)
    return tuple(block for block in blocks if nearest in block.zones)


def _is_guarded(expanded: ExpandedDirectives, block: CorefileBlock, suffix: str) -> bool:
    """Return whether templates, ours or others, deny the names that search expansion makes.

    Resolvers look at the answer for A first, and the fix `dns` changes that for AAAA.
    """
    found = find_answering(expanded, block, _proof_name(suffix), "A")
    return found is not None and found[1].rcode == "NXDOMAIN"


def _proof_name(suffix: str) -> str:
    return f"pypi-mirror-proof.example.{suffix}"


def expected_answers(changes: tuple[Change, ...], evidence: Evidence) -> tuple[ExpectedAnswer, ...]:
    """Expect NXDOMAIN for an expanded name, and an address for the cluster's own name."""
    suffixes = [suffix for change in changes for suffix in change.edit.options["suffixes"]]
    proofs = [ExpectedAnswer(name=_proof_name(s), qtype="A", answer="NXDOMAIN") for s in suffixes]
    return (*proofs, *expect_cluster_names(evidence))


FIX = Fix(
    name=NAME,
    order=10,
    summary="CoreDNS guards search domains that answer everything",
    impact="every pod of the cluster: names with two or more labels before a guarded search domain "
    "do not exist any more (a.b.SUFFIX; host.SUFFIX still resolves; --keep-name NAME keeps more)",
    needs=frozenset({Need.COREDNS, Need.NODES, Need.DNS_SERVICE, Need.DNS_PODS, Need.POD_DNS}),
    plan_changes=plan_changes,
    edit=edit,
    may_target=may_target,
    resolved_checks=("dns.search-domains",),
    options=(
        FixOption(
            name="keep-name",
            kind="list",
            metavar="NAME",
            check=parse_domain,
            help="search-domains: this name, and all below it, still resolves.",
        ),
    ),
    expected_answers=expected_answers,
)
