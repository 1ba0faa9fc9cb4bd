"""AAAA questions answered empty, so that no program takes an IPv6 address it has no route to."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from deploy.changes.coredns_target import (
    choose_target,
    describe_caveats,
    expect_cluster_names,
    read_target_text,
)
from deploy.changes.fix import Fix, FixOption, FixOptions, Refusal
from deploy.changes.model import CannotEdit, Change, ConfigMapKey, Edit, Target
from deploy.evidence.coredns import CoreDns
from deploy.evidence.model import Evidence, Need
from deploy.evidence.unseen import Unseen
from deploy.formats import corefile, template_plugin
from deploy.formats.corefile import CorefileBlock, CorefileError, Directive
from deploy.formats.domain import parse_domain
from mirror.core.errors import InputError
from mirror.probe.model import ExpectedAnswer

NAME = "dns"


def plan_changes(
    evidence: Evidence, options: FixOptions, held: tuple[Change, ...]
) -> tuple[Change, ...] | Refusal:
    """One change: the Corefile, or a file of coredns-custom."""
    wanted = _wanted(options)
    if held and not any(wanted.values()):
        return held
    core = evidence.coredns
    if isinstance(core, Unseen):
        return Refusal(reason=f"CoreDNS' configuration could not be seen: {core.reason}")
    if core is None:
        return Refusal(
            reason="no ConfigMap in kube-system holds a Corefile",
            next_step="is the cluster's DNS CoreDNS? (MicroK8s: microk8s enable dns)",
        )
    target = choose_target(core)
    if target.key != "Corefile" and (wanted["prefer_udp"] or wanted["forward"]):
        return Refusal(
            reason=f"`forward` stands in the Corefile, which {core.owner or 'somebody'} puts back",
            objects=(f"ConfigMap {core.namespace}/{core.name}",),
            next_step="leave --prefer-udp and --forward out; the AAAA answers go to coredns-custom",
        )
    before = read_target_text(core, target)
    try:
        after = edit(Edit(fix=NAME, options=wanted), target, before)
    except CannotEdit as reason:
        return Refusal(reason=str(reason), objects=(str(target),))
    if after == before and not held:
        return Refusal(reason=_there(core), objects=(str(target),), needless=True)
    return (Change(target=target, edit=Edit(fix=NAME, options=wanted), why=_why(core, wanted)),)


def _wanted(options: FixOptions) -> dict[str, Any]:
    """As the ledger keeps it."""
    keep = sorted({parse_domain(one) for one in options.get("keep-aaaa") or ()})
    forward = [_address(one) for one in options.get("forward") or ()]
    return {"keep_aaaa": keep, "forward": forward, "prefer_udp": bool(options.get("prefer-udp"))}


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError as wrong:
        raise InputError(
            f"--forward {text!r} is no IP address",
            why="a DNS server's name cannot be looked up before there is DNS",
            next_step="give an address, such as --forward 8.8.8.8",
        ) from wrong


def _why(core: CoreDns, wanted: Mapping[str, Any]) -> str:
    told = ["AAAA questions are answered NOERROR without records"]
    if wanted["keep_aaaa"]:
        told.append(f"but under {', '.join(wanted['keep_aaaa'])}")
    if wanted["forward"]:
        told.append(f"questions are forwarded to {', '.join(wanted['forward'])}")
    if wanted["prefer_udp"]:
        told.append("over UDP")
    return ", ".join(told) + describe_caveats(core)


def _there(core: CoreDns) -> str:
    for block in corefile.parse(core.text).server_blocks:
        for one in _templates(core.text, block):
            if _ours_or_alike(one, block):
                return f"AAAA is answered empty already (line {one.line} of the Corefile)"
    return "AAAA is answered empty already"


# -- the edit -------------------------------------------------------------------------------------


def edit(edit: Edit, target: Target, content: bytes | None) -> bytes | None:
    """The template in every server block of the root zone, once; `forward` as it is asked for."""
    assert isinstance(target, ConfigMapKey)
    options = edit.options
    lines = _lines(options["keep_aaaa"])
    text = (content or b"").decode()
    try:
        if target.key != "Corefile":
            fragment = corefile.parse_fragment(text)
            if not any(_ours_or_alike(one, fragment) for one in fragment.find("template")):
                text = corefile.insert_lines(text, len(text), lines, "")
            return text.encode()
        for block in reversed(_roots(text)):
            text = _forward(text, block, options)
            if not any(_ours_or_alike(one, block) for one in _templates(text, block)):
                # `block` still tells where its beginning is: what is put in comes after it
                block = _again(text, block)
                text = template_plugin.insert_block(text, block, lines, before=("forward", "proxy"))
            elif options["keep_aaaa"]:
                raise CannotEdit(
                    f"line {block.line}: a template answers all AAAA questions already; it would "
                    "have to go before --keep-aaaa can hold"
                )
    except CorefileError as broken:
        raise CannotEdit(f"the Corefile cannot be read: {broken}") from broken
    return text.encode()


def _roots(text: str) -> tuple[CorefileBlock, ...]:
    roots = tuple(one for one in corefile.parse(text).server_blocks if "." in one.zones)
    if not roots:
        raise CannotEdit("no server block of the Corefile is for the root zone (`.`)")
    return roots


def _templates(text: str, block: CorefileBlock) -> tuple[Directive, ...]:
    found = corefile.parse(text).effective_directives(block)
    return tuple(one for one in found if one.name == "template")


def _again(text: str, block: CorefileBlock) -> CorefileBlock:
    return next(one for one in corefile.parse(text).server_blocks if one.line == block.line)


def _lines(keep: list[str]) -> tuple[str, ...]:
    if not keep:
        return template_plugin.render_block(
            NAME, "no IPv6 addresses", "IN AAAA .", ["rcode NOERROR"]
        )
    inner = [f"match {template_plugin.match_outside(keep)}", "rcode NOERROR", "fallthrough"]
    what = f"no IPv6 addresses, but under {', '.join(keep)}"
    return template_plugin.render_block(NAME, what, "IN AAAA .", inner)


def _ours_or_alike(one: Directive, block: CorefileBlock) -> bool:
    """A template that answers AAAA of everything empty: ours, or one written by hand."""
    zones = template_plugin.get_zones(one, block) or (".",)
    return (
        template_plugin.answers_only(one, "AAAA", "NOERROR")
        and "." in zones
        and (
            template_plugin.matches_everything(one)
            or template_plugin.get_patterns(one)[0].startswith(r"^(\.|")
        )
    )


def _forward(text: str, block: CorefileBlock, options: FixOptions) -> str:
    """`forward .` of the block: other servers, and prefer_udp."""
    if not options["forward"] and not options["prefer_udp"]:
        return text
    found = [one for one in block.find("forward") if one.args[:1] == (".",)]
    if not found:
        raise CannotEdit(f"line {block.line}: the server block has no `forward .` to change")
    one = found[0]
    given = {line[0] for line in one.body if line}
    if options["prefer_udp"] and "force_tcp" in given:
        raise CannotEdit(f"line {one.line}: `forward` has force_tcp, against --prefer-udp")
    if options["prefer_udp"] and "prefer_udp" not in given:
        text = _with_udp(text, one)
    if options["forward"] and list(one.args[1:]) != options["forward"]:
        words = [word for word in one.tokens[2:] if not one.brace or word.end <= one.brace.begin]
        begin, end = words[0].begin, words[-1].end
        text = text[:begin] + " ".join(options["forward"]) + text[end:]
    return text


def _with_udp(text: str, one: Directive) -> str:
    begin = text.rfind("\n", 0, one.tokens[0].begin) + 1
    indent = text[begin : one.tokens[0].begin]
    indent = indent if not indent.strip() else "    "
    step = "\t" if "\t" in indent else "    "
    ending = "\r\n" if "\r\n" in text else "\n"
    if one.brace is None:
        at = one.tokens[-1].end
        return f"{text[:at]} {{{ending}{indent}{step}prefer_udp{ending}{indent}}}{text[at:]}"
    at = one.brace.end
    return f"{text[:at]}{ending}{indent}{step}prefer_udp{text[at:]}"


def expected_answers(made: tuple[Change, ...], evidence: Evidence) -> tuple[ExpectedAnswer, ...]:
    """A name that nobody has: NXDOMAIN before, NOERROR after."""
    kept = [one for change in made for one in change.edit.options["keep_aaaa"]]
    name = "pypi-mirror-proof.invalid"
    asked = () if "invalid" in kept else (ExpectedAnswer(name=name, qtype="AAAA", answer="empty"),)
    return (*asked, *expect_cluster_names(evidence))


FIX = Fix(
    name=NAME,
    order=20,
    summary="CoreDNS gives pods no IPv6 addresses",
    impact="every pod of the cluster: names resolve to IPv4 addresses only; a Service that has an "
    "IPv6 address alone is not found any more (--keep-aaaa cluster.local keeps those)",
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
        FixOption(name="prefer-udp", help="dns: `forward` asks its servers over UDP."),
        FixOption(
            name="forward",
            kind="list",
            metavar="ADDRESS",
            help="dns: `forward .` asks these servers.  [default: as it is]",
        ),
    ),
    expected_answers=expected_answers,
)
