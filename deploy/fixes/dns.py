"""`mirror fix dns`: AAAA queries get no records, so no program tries an unroutable IPv6 address."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Any

from deploy.changes.coredns_target import (
    choose_target,
    describe_caveats,
    expect_cluster_names,
    is_override,
    is_override_import,
    may_target,
    require_coredns,
    try_change,
)
from deploy.changes.fix import Fix, FixOption, FixOptions, Refusal
from deploy.changes.model import CannotEdit, Change, ConfigMapKey, Edit, Target
from deploy.evidence.coredns import CoreDns
from deploy.evidence.model import Evidence, Need
from deploy.formats import corefile, template_plugin
from deploy.formats.corefile import (
    CorefileBlock,
    CorefileError,
    Directive,
    ExpandedDirectives,
    find_variable,
)
from deploy.formats.domain import parse_domain
from deploy.formats.template_chain import answer_query, find_answering
from deploy.formats.template_plugin import is_zone_of
from mirror.core.errors import InputError
from mirror.probe.model import ExpectedAnswer

NAME = "dns"
_LABEL = "pypi-mirror-proof"
_SAMPLES = tuple(f"{_LABEL}.{zone}" for zone in ("invalid", "example", "test"))


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
    try:
        if earlier := _find_earlier_answer(coredns, target):
            return earlier
        why = _reason(edit_options, coredns.text) + describe_caveats(coredns)
    except CannotEdit as error:
        return Refusal(reason=str(error), objects=(str(target),))
    except CorefileError as error:
        return Refusal(reason=f"the Corefile cannot be read: {error}", objects=(str(target),))
    change = Change(target=target, edit=Edit(fix=NAME, options=edit_options), why=why)
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


def _reason(edit_options: Mapping[str, Any], text: str) -> str:
    parts = ["AAAA queries are answered NOERROR without records"]
    if edit_options["keep_aaaa"]:
        parts.append(f"except under {', '.join(edit_options['keep_aaaa'])}")
    if edit_options["forward"]:
        servers = _list_forward_servers(text, edit_options["forward"])
        instead = f" instead of {', '.join(servers)}" if servers else ""
        parts.append(f"queries are forwarded to {', '.join(edit_options['forward'])}{instead}")
    if edit_options["prefer_udp"]:
        parts.append("over UDP")
    return ", ".join(parts) + _describe_replaced_answers(text) + _describe_lost_answers(text)


def _describe_replaced_answers(text: str) -> str:
    """Return which templates of others do not answer AAAA any more, because ours come first."""
    parsed = corefile.parse(text)
    lines = []
    for block in _find_root_blocks(text):
        answer = answer_query(parsed.effective_directives(block), block, _SAMPLES[0], "AAAA")
        if answer is not None and not answer.is_empty:
            lines.append(f"that of line {answer.line} ({answer.rcode})")
    return f", instead of the answer of another template: {', '.join(lines)}" if lines else ""


def _list_forward_servers(text: str, new: list[str]) -> list[str]:
    """Return the servers that `forward .` of the root zone's blocks queries now and will not."""
    forwards = [f for block in _find_root_blocks(text) for f in block.find("forward")]
    servers = [server for f in forwards if f.args[:1] == (".",) for server in f.args[1:]]
    return [server for server in dict.fromkeys(servers) if server not in new]


def _describe_lost_answers(text: str) -> str:
    """Return which IPv6 entries of `hosts` blocks are not answered any more."""
    parsed = corefile.parse(text)
    names = [
        f"{' '.join(entry[1:])} ({entry[0]})"
        for block in _find_root_blocks(text)
        for directive in parsed.effective_directives(block)
        if directive.name == "hosts"
        for entry in directive.body
        if len(entry) > 1 and ":" in entry[0]
    ]
    if not names:
        return ""
    return f". IPv6 entries of `hosts` are not answered any more: {', '.join(names)}"


def _find_earlier_answer(coredns: CoreDns, target: ConfigMapKey) -> Refusal | None:
    """Return a Refusal if CoreDNS reads another template before the file that we would add."""
    if target.key == "Corefile":
        return None
    for block in _find_root_blocks(coredns.text):
        for key, directive in _list_before_import(coredns, block, target.key):
            answer = answer_query([directive], block, _SAMPLES[0], "AAAA")
            if answer is not None and not answer.is_empty:
                return Refusal(
                    reason=f"line {answer.line} of {key} answers AAAA with {answer.rcode}, and "
                    f"CoreDNS reads it before {target.key}",
                    objects=(str(target),),
                    next_step=f"remove that template from {key}, or change its rcode to NOERROR",
                )
    return None


def _list_before_import(
    coredns: CoreDns, block: CorefileBlock, key: str
) -> Iterator[tuple[str, Directive]]:
    """Yield (file, directive) for all that a block reads before this file of coredns-custom."""
    for directive in block.directives:
        if is_override_import(directive):
            for file in coredns.custom or ():
                if is_override(file.key) and file.key < key:
                    for found in corefile.parse_fragment(file.text).directives:
                        yield file.key, found
            return
        yield "Corefile", directive


def _describe_existing(coredns: CoreDns) -> str:
    parsed = corefile.parse(coredns.text)
    for block in parsed.server_blocks:
        answer = answer_query(parsed.effective_directives(block), block, _SAMPLES[0], "AAAA")
        if answer is not None and answer.is_empty:
            return f"AAAA is answered empty already (line {answer.line} of the Corefile)"
    return "AAAA is answered empty already"


# -- the edit -------------------------------------------------------------------------------------


def edit(edit: Edit, target: Target, content: bytes | None) -> bytes | None:
    """Return the text with the template in every server block of the root zone, and `forward`."""
    assert isinstance(target, ConfigMapKey)
    options = edit.options
    text = (content or b"").decode()
    try:
        if target.key != "Corefile":
            return _edit_fragment(text, options).encode()
        for block in reversed(_find_root_blocks(text)):
            text = _edit_forward(text, block, options)
            # an edit to `forward` does not move the first line of its block
            text = _edit_block(text, _find_block_at(text, block.line), options)
    except CorefileError as error:
        raise CannotEdit(f"the Corefile cannot be read: {error}") from error
    return text.encode()


def _edit_fragment(text: str, options: FixOptions) -> str:
    """Return a file that the server block of the root zone imports, with the template."""
    block = corefile.parse_fragment(text)
    expanded: ExpandedDirectives = [(each, (each,)) for each in block.directives]
    needed, anchor = _find_place(expanded, block, options)
    if not needed:
        return text
    at = anchor.tokens[0].begin if anchor else len(text)
    return corefile.insert_lines(text, at, _render_template(options["keep_aaaa"]), "")


def _edit_block(text: str, block: CorefileBlock, options: FixOptions) -> str:
    expanded = corefile.parse(text).expand(block)
    for _, parts in expanded:
        for directive in parts:
            if directive.name == "dns64":
                raise CannotEdit(
                    f"line {directive.line}: dns64 makes AAAA records from A records, after any "
                    "template; remove it first if nothing in the cluster needs IPv6"
                )
    needed, anchor = _find_place(expanded, block, options)
    if not needed:
        return text
    lines = _render_template(options["keep_aaaa"])
    return template_plugin.insert_block(text, block, lines, anchor)


def _find_place(
    expanded: ExpandedDirectives,
    block: CorefileBlock,
    options: FixOptions,
) -> tuple[bool, Directive | None]:
    """Return whether our template is needed, and the directive that it has to precede, if any.

    That is the first template that answers AAAA in another way: the first answer counts.
    """
    keep = options["keep_aaaa"]
    samples = [name for name in _SAMPLES if not any(is_zone_of(zone, name) for zone in keep)]
    found = [find_answering(expanded, block, name, "AAAA") for name in samples]
    others = [each[0] for each in found if each is not None and not each[1].is_empty]
    if others:
        return True, min(others, key=lambda directive: directive.tokens[0].begin)
    if None in found:
        return True, None
    for zone in keep:
        answered = find_answering(expanded, block, f"{_LABEL}.{zone}", "AAAA")
        if answered is not None and answered[1].is_empty:
            raise CannotEdit(
                f"line {block.line}: a template answers all AAAA queries already; remove it "
                "before --keep-aaaa can work"
            )
    return False, None


def _find_root_blocks(text: str) -> tuple[CorefileBlock, ...]:
    blocks = corefile.parse(text).server_blocks
    found = tuple(block for block in blocks if "." in block.zones)
    if not found:
        keys = [key for block in blocks for key in block.keys]
        if unknown := [key for key in keys if find_variable(corefile.parse_zone(key))]:
            raise CannotEdit(
                f"the zone {find_variable(unknown[0])} of a server block is a variable of "
                "CoreDNS's environment: write the zone into the Corefile"
            )
        raise CannotEdit("no server block of the Corefile is for the root zone (`.`)")
    return found


def _find_block_at(text: str, line: int) -> CorefileBlock:
    return next(block for block in corefile.parse(text).server_blocks if block.line == line)


def _render_template(keep: list[str]) -> tuple[str, ...]:
    title, body = "no IPv6 addresses", ["rcode NOERROR"]  # part of applied Corefiles
    if keep:
        title += f", but under {', '.join(keep)}"
        body = [f"match {template_plugin.match_outside(keep)}", *body, "fallthrough"]
    return template_plugin.render_block(NAME, title, "IN AAAA .", body)


def _edit_forward(text: str, block: CorefileBlock, options: FixOptions) -> str:
    """Return the text with the servers and prefer_udp of the block's `forward .`."""
    if not options["forward"] and not options["prefer_udp"]:
        return text
    forward = next((f for f in block.find("forward") if f.args[:1] == (".",)), None)
    if forward is None:
        raise CannotEdit(
            f"line {block.line}: the server block has no `forward .` of its own to change"
        )
    encrypted = [server for server in forward.args[1:] if server.startswith(("tls://", "https://"))]
    if options["forward"] and encrypted:
        raise CannotEdit(
            f"line {forward.line}: `forward` queries {encrypted[0]} with encryption, and --forward "
            "would query in plain text"
        )
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
    proof = ExpectedAnswer(name=_SAMPLES[0], qtype="AAAA", answer="empty")
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
    may_target=may_target,
    resolved_checks=("dns.ipv6-answers",),
    options=(
        FixOption(
            name="keep-aaaa",
            kind="list",
            metavar="SUFFIX",
            check=parse_domain,
            help="dns: names under it keep their IPv6 addresses.",
        ),
        FixOption(name="prefer-udp", help="dns: `forward` queries its servers over UDP."),
        FixOption(
            name="forward",
            kind="list",
            metavar="ADDRESS",
            check=_parse_address,
            help="dns: `forward .` queries these servers.  [default: unchanged]",
        ),
    ),
    expected_answers=expected_answers,
)
