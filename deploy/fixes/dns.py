"""`mirror fix dns`: AAAA queries get no records, so no program tries an unroutable IPv6 address."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from deploy.changes.coredns_target import (
    choose_target,
    describe_caveats,
    expect_cluster_names,
    require_coredns,
    try_change,
)
from deploy.changes.fix import Fix, FixOption, FixOptions, Refusal
from deploy.changes.model import CannotEdit, Change, ConfigMapKey, Edit, Target
from deploy.evidence.coredns import CoreDns
from deploy.evidence.model import Evidence, Need
from deploy.formats import corefile, template_plugin
from deploy.formats.corefile import CorefileBlock, CorefileError, Directive
from deploy.formats.domain import parse_domain
from mirror.core.errors import InputError
from mirror.probe.model import ExpectedAnswer

NAME = "dns"


def plan_changes(
    evidence: Evidence, options: FixOptions, applied: tuple[Change, ...]
) -> tuple[Change, ...] | Refusal:
    """Return one change, to the Corefile or to a file of coredns-custom."""
    edit_options = _edit_options(options)
    if applied and not any(edit_options.values()):
        return applied
    coredns = require_coredns(
        evidence,
        "check that the DNS server of the cluster is CoreDNS (MicroK8s: microk8s enable dns)",
    )
    if isinstance(coredns, Refusal):
        return coredns
    target = choose_target(coredns)
    if target.key != "Corefile" and (edit_options["prefer_udp"] or edit_options["forward"]):
        return Refusal(
            reason=f"`forward` is in the Corefile, which {coredns.owner or 'its owner'} reverts",
            objects=(f"ConfigMap {coredns.namespace}/{coredns.name}",),
            next_step="leave out --prefer-udp and --forward; the AAAA answers go to coredns-custom",
        )
    change = Change(
        target=target,
        edit=Edit(fix=NAME, options=edit_options),
        why=_reason(edit_options) + describe_caveats(coredns),
    )
    return try_change(edit, change, coredns, applied) or Refusal(
        reason=_describe_existing(coredns), objects=(str(target),), needless=True
    )


def _edit_options(options: FixOptions) -> dict[str, Any]:
    """Return the options as the ledger stores them."""
    return {
        "keep_aaaa": sorted({parse_domain(name) for name in options.get("keep-aaaa") or ()}),
        "forward": [_parse_address(text) for text in options.get("forward") or ()],
        "prefer_udp": bool(options.get("prefer-udp")),
    }


def _parse_address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError as error:
        raise InputError(
            f"--forward {text!r} is not an IP address",
            why="CoreDNS cannot look up the name of a DNS server",
            next_step="give an address, such as --forward 8.8.8.8",
        ) from error


def _reason(edit_options: Mapping[str, Any]) -> str:
    parts = ["AAAA queries are answered NOERROR without records"]
    if edit_options["keep_aaaa"]:
        parts.append(f"except under {', '.join(edit_options['keep_aaaa'])}")
    if edit_options["forward"]:
        parts.append(f"queries are forwarded to {', '.join(edit_options['forward'])}")
    if edit_options["prefer_udp"]:
        parts.append("over UDP")
    return ", ".join(parts)


def _describe_existing(coredns: CoreDns) -> str:
    for block in corefile.parse(coredns.text).server_blocks:
        for template in _list_templates(coredns.text, block):
            if _answers_no_aaaa(template, block):
                return f"AAAA is answered empty already (line {template.line} of the Corefile)"
    return "AAAA is answered empty already"


# -- the edit -------------------------------------------------------------------------------------


def edit(edit: Edit, target: Target, content: bytes | None) -> bytes | None:
    """Return the text with the template in every server block of the root zone, and `forward`."""
    assert isinstance(target, ConfigMapKey)
    options = edit.options
    lines = _render_template(options["keep_aaaa"])
    text = (content or b"").decode()
    try:
        if target.key != "Corefile":
            fragment = corefile.parse_fragment(text)
            if not any(_answers_no_aaaa(t, fragment) for t in fragment.find("template")):
                text = corefile.insert_lines(text, len(text), lines, "")
            return text.encode()
        for block in reversed(_find_root_blocks(text)):
            text = _edit_forward(text, block, options)
            templates = [t for t in _list_templates(text, block) if _answers_no_aaaa(t, block)]
            if not templates:
                # an edit to `forward` does not move the first line of its block
                block = _find_block_at(text, block.line)
                text = template_plugin.insert_block(text, block, lines, before=("forward", "proxy"))
            elif options["keep_aaaa"] and not any(_keeps(t, options) for t in templates):
                raise CannotEdit(
                    f"line {block.line}: a template answers all AAAA queries already; remove it "
                    "before --keep-aaaa can work"
                )
    except CorefileError as error:
        raise CannotEdit(f"the Corefile cannot be read: {error}") from error
    return text.encode()


def _find_root_blocks(text: str) -> tuple[CorefileBlock, ...]:
    blocks = tuple(block for block in corefile.parse(text).server_blocks if "." in block.zones)
    if not blocks:
        raise CannotEdit("no server block of the Corefile is for the root zone (`.`)")
    return blocks


def _find_block_at(text: str, line: int) -> CorefileBlock:
    return next(block for block in corefile.parse(text).server_blocks if block.line == line)


def _list_templates(text: str, block: CorefileBlock) -> tuple[Directive, ...]:
    directives = corefile.parse(text).effective_directives(block)
    return tuple(directive for directive in directives if directive.name == "template")


def _render_template(keep: list[str]) -> tuple[str, ...]:
    title, body = "no IPv6 addresses", ["rcode NOERROR"]  # part of applied Corefiles
    if keep:
        title += f", but under {', '.join(keep)}"
        body = [f"match {template_plugin.match_outside(keep)}", *body, "fallthrough"]
    return template_plugin.render_block(NAME, title, "IN AAAA .", body)


def _answers_no_aaaa(template: Directive, block: CorefileBlock) -> bool:
    """Return whether a template (maybe not ours) answers all AAAA queries without records."""
    zones = template_plugin.get_zones(template, block) or (".",)
    return (
        template_plugin.answers_only(template, "AAAA", "NOERROR")
        and "." in zones
        and (
            template_plugin.matches_everything(template)
            or template_plugin.get_patterns(template)[0].startswith(r"^(\.|")
        )
    )


def _keeps(template: Directive, options: FixOptions) -> bool:
    """Return whether the template excludes exactly the names to keep, as our own edits do."""
    pattern = template_plugin.match_outside(options["keep_aaaa"])
    return template_plugin.get_patterns(template) == (pattern,)


def _edit_forward(text: str, block: CorefileBlock, options: FixOptions) -> str:
    """Return the text with the servers and prefer_udp of the block's `forward .`."""
    if not options["forward"] and not options["prefer_udp"]:
        return text
    forward = next((f for f in block.find("forward") if f.args[:1] == (".",)), None)
    if forward is None:
        raise CannotEdit(f"line {block.line}: the server block has no `forward .` to change")
    settings = {line[0] for line in forward.body if line}
    if options["prefer_udp"] and "force_tcp" in settings:
        raise CannotEdit(f"line {forward.line}: `forward` has force_tcp, against --prefer-udp")
    if options["prefer_udp"] and "prefer_udp" not in settings:
        text = _add_prefer_udp(text, forward)
    if options["forward"] and list(forward.args[1:]) != options["forward"]:
        servers = forward.tokens[2 : len(forward.args) + 1]
        begin, end = servers[0].begin, servers[-1].end
        text = text[:begin] + " ".join(options["forward"]) + text[end:]
    return text


def _add_prefer_udp(text: str, forward: Directive) -> str:
    line_start = text.rfind("\n", 0, forward.tokens[0].begin) + 1
    indent = text[line_start : forward.tokens[0].begin]
    indent = indent if not indent.strip() else "    "
    step = "\t" if "\t" in indent else "    "
    newline = "\r\n" if "\r\n" in text else "\n"
    if forward.brace is None:
        at = forward.tokens[-1].end
        body = f" {{{newline}{indent}{step}prefer_udp{newline}{indent}}}"
    else:
        at = forward.brace.end
        body = f"{newline}{indent}{step}prefer_udp"
    return f"{text[:at]}{body}{text[at:]}"


def expected_answers(changes: tuple[Change, ...], evidence: Evidence) -> tuple[ExpectedAnswer, ...]:
    """Expect NOERROR for a name that does not exist; before the fix it was NXDOMAIN."""
    kept = [name for change in changes for name in change.edit.options["keep_aaaa"]]
    proof = ExpectedAnswer(name="pypi-mirror-proof.invalid", qtype="AAAA", answer="empty")
    return (*(() if "invalid" in kept else (proof,)), *expect_cluster_names(evidence))


FIX = Fix(
    name=NAME,
    order=20,
    summary="CoreDNS gives pods no IPv6 addresses",
    impact="every pod of the cluster: names resolve to IPv4 addresses only; a Service with only an "
    "IPv6 address is not found any more (--keep-aaaa cluster.local keeps those)",
    needs=frozenset({Need.COREDNS, Need.NODES, Need.DNS_SERVICE, Need.DNS_PODS, Need.POD_DNS}),
    plan_changes=plan_changes,
    edit=edit,
    resolved_checks=("dns.ipv6-answers",),
    options=(
        FixOption(
            name="keep-aaaa",
            kind="list",
            metavar="SUFFIX",
            help="dns: names under it keep their IPv6 addresses.",
        ),
        FixOption(name="prefer-udp", help="dns: `forward` queries its servers over UDP."),
        FixOption(
            name="forward",
            kind="list",
            metavar="ADDRESS",
            help="dns: `forward .` queries these servers.  [default: unchanged]",
        ),
    ),
    expected_answers=expected_answers,
)
