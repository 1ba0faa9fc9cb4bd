"""Answer a query as CoreDNS' `template` plugin would (coredns, plugin/template/template.go).

All templates of a server block form one chain, in the order of the text. A query that no template
answers goes to the next plugin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deploy.formats import template_plugin
from deploy.formats.corefile import CorefileBlock, Directive, ExpandedDirectives
from deploy.formats.go_regex import matches


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateAnswer:
    """What the chain answers, and the line of the template that does."""

    rcode: str
    has_records: bool
    line: int

    @property
    def is_empty(self) -> bool:
        """Whether the name exists, without records of the type: NODATA."""
        return self.rcode == "NOERROR" and not self.has_records


def answer_query(
    directives: Sequence[Directive], block: CorefileBlock, name: str, qtype: str
) -> TemplateAnswer | None:
    """Return the answer to a name without its last dot; None if the next plugin is asked.

    ``directives`` are those of ``block``, with its snippets; others than templates are ignored.
    """
    for template in directives:
        if template.name == "template" and _is_asked(template, block, name, qtype):
            settings = {line[0]: line[1:] for line in template.body if line}
            if _is_matched(template, name):
                rcode = settings.get("rcode") or ("NOERROR",)
                has_records = "answer" in settings
                return TemplateAnswer(rcode=rcode[0], has_records=has_records, line=template.line)
            if not _falls_through(settings.get("fallthrough"), name):
                return TemplateAnswer(rcode="SERVFAIL", has_records=False, line=template.line)
    return None


def find_answering(
    expanded: ExpandedDirectives,
    block: CorefileBlock,
    name: str,
    qtype: str,
) -> tuple[Directive, TemplateAnswer] | None:
    """Return the directive of the block that answers, and its answer; see `answer_query`.

    ``expanded`` has each directive with what it stands for: an `import` for its snippet.
    """
    for directive, parts in expanded:
        if answer := answer_query(parts, block, name, qtype):
            return directive, answer
    return None


def _is_asked(template: Directive, block: CorefileBlock, name: str, qtype: str) -> bool:
    if len(template.args) < 2:
        return False
    if template.args[0] not in {"IN", "ANY"} or template.args[1] not in {qtype, "ANY"}:
        return False
    zones = template_plugin.get_zones(template, block) or (".",)
    return any(template_plugin.is_zone_of(zone, name) for zone in zones)


def _is_matched(template: Directive, name: str) -> bool:
    patterns = template_plugin.get_patterns(template)
    return not patterns or any(matches(pattern, f"{name}.") for pattern in patterns)


def _falls_through(zones: Sequence[str] | None, name: str) -> bool:
    if zones is None:
        return False
    names = [zone.lower().rstrip(".") or "." for zone in zones]
    return not names or any(template_plugin.is_zone_of(zone, name) for zone in names)
