"""Choose the one command that `mirror doctor` ends with. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from deploy.evidence.model import Evidence
from deploy.evidence.unseen import Unseen
from deploy.findings.model import Finding, Severity

_PLACEHOLDER = re.compile(r"\b(NAME|NAMESPACE|PATH|FILE|KIND|REF|HOST|ADDRESS|VERSION)\b")
_SEPARATOR = " && "
_UP = "mirror up"


def choose_next_command(findings: Sequence[Finding], evidence: Evidence) -> str:
    """Return the command to run first: it works when it is pasted. Empty if nothing was found.

    Findings about a workload come before those about the cluster: their remedies reach less. If no
    command is complete, it is the one that explains the worst finding.
    """
    candidates = sorted(findings, key=_rank)
    commands = _iter_commands(candidates, _runs_mirror(evidence))
    explain = f"mirror doctor --explain {candidates[0].check}" if candidates else ""
    return next(commands, explain)


def _rank(finding: Finding) -> tuple[int, bool]:
    is_workload = finding.check.startswith("workloads.")
    return list(Severity).index(finding.severity), not is_workload


def _iter_commands(findings: Iterable[Finding], mirror_runs: bool) -> Iterator[str]:
    for finding in findings:
        for remedy in finding.remedies:
            if remedy.insufficient:
                continue
            commands = remedy.command.split(_SEPARATOR)
            if mirror_runs and commands[1:] and commands[0] == _UP:
                del commands[0]
            complete = []
            for command in commands:
                if _PLACEHOLDER.search(command):
                    break
                complete.append(command)
            if any(complete):
                yield _SEPARATOR.join(complete)


def _runs_mirror(evidence: Evidence) -> bool:
    return not isinstance(evidence.mirror, Unseen) and evidence.mirror.ready
