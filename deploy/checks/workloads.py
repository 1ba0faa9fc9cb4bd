"""Workloads that fail for want of what they download, or pass the mirror by."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deploy.evidence.log_lines import classify_line, filter_lines
from deploy.evidence.model import Evidence, Need
from deploy.evidence.startup import (
    find_index_url,
    find_package_installs,
    format_target,
    get_mirror,
    ignores_index,
    iter_installers,
    sets_index_in_command,
    uses_mirror,
)
from deploy.evidence.unseen import require_seen
from deploy.evidence.workloads import Workload
from deploy.findings import remedies
from deploy.findings.model import DoctorCheck, Finding, Remedy, Severity
from deploy.findings.phrases import join_names, on_nodes

CATEGORY = "workloads"
RANK = 80  # where it stands in the report

_MUSL = re.compile(r"Name has no usable address|failed to lookup address .*Name does not resolve")
_NAME = re.compile(
    r"Name has no usable address|Name does not resolve|Name or service not known"
    r"|Temporary failure in name resolution|No address associated|Could not resolve|lookup address"
)
_ROUTE = re.compile(r"etwork (is )?unreachable|os error 101")
_DOWNLOADS = re.compile(
    r"Failed to (fetch|download)|error sending request for url|No matching distribution"
    r"|Could not find a version|pip\b|simple/|LocalEntryNotFoundError|couldn't connect to"
)
_NOT_STARTED = {"CreateContainerConfigError", "CreateContainerError"}


def check_failing_downloads(evidence: Evidence) -> Iterator[Finding]:
    """Pods that fail, and whose logs tell of downloads that did not come."""
    for workload in require_seen(evidence.workloads):
        fails = [pod for pod in workload.pods if pod.is_failing]
        said = filter_lines((line for pod in fails for line in pod.log_lines), "failed")
        text = "\n".join(said)
        guilty = (
            bool(find_package_installs(workload)) or _DOWNLOADS.search(text) or _MUSL.search(text)
        )
        if not fails or not said or not guilty:
            continue
        yield Finding(
            check="workloads.failing",
            severity=Severity.ERROR,
            cause=f"{workload.title} fails: what it downloads does not come",
            nodes=tuple(dict.fromkeys(pod.node for pod in fails if pod.node)),
            evidence=(
                *(
                    f"pod {pod.name} {on_nodes([pod.node])}: {pod.trouble or pod.phase}, "
                    f"{pod.restarts} restarts"
                    for pod in fails[:3]
                ),
                # the first names what was asked for, the last ones the cause
                *(f"says: {line}" for line in dict.fromkeys((*said[:1], *said[-3:]))),
            ),
            why=_why(text),
            remedies=_mends(workload, text),
        )


def _why(text: str) -> str:
    if _MUSL.search(text):
        return (
            "`Name has no usable address` (older: `Name does not resolve`) is what musl says when "
            "a search domain answers where it should not: dns.search-domains tells which. curl in "
            "the same pod finds the name."
        )
    if _NAME.search(text):
        return "The name is not found: see dns."
    if _ROUTE.search(text):
        return (
            "The address that was tried has no way out: an IPv6 one where IPv6 leads nowhere, or "
            "pods may not leave the cluster: see dns.ipv6-answers, ipv6.pods and dns.egress."
        )
    return "The index, or the way to it, did not answer: see dns.egress and mirror."


def _mends(workload: Workload, text: str) -> tuple[Remedy, ...]:
    ways = [remedies.attach_workload(format_target(workload), workload.namespace)]
    if _NAME.search(text):
        ways.insert(
            0, remedies.set_ndots(workload=format_target(workload), namespace=workload.namespace)
        )
    return (
        *ways,
        remedies.build_image(workload.title),
        remedies.publish_environment([workload.namespace]),
    )


def check_missing_config(evidence: Evidence) -> Iterator[Finding]:
    """Pods that wait for the mirror's ConfigMap."""
    for workload in require_seen(evidence.workloads):
        waiting = [pod for pod in workload.pods if pod.trouble in _NOT_STARTED]
        if waiting and any("pypi-mirror-env" in one.env_maps for one in workload.containers):
            yield Finding(
                check="workloads.config",
                severity=Severity.ERROR,
                cause=f"{workload.title} does not start: it takes the ConfigMap pypi-mirror-env",
                nodes=tuple(dict.fromkeys(pod.node for pod in waiting)),
                evidence=tuple(f"pod {pod.name}: {pod.trouble}" for pod in waiting[:3]),
                why="Containers take it by envFrom, and it is not in their namespace.",
                remedies=(
                    Remedy(
                        text="Publish it there.",
                        scope="namespace",
                        command=f"mirror env --publish {workload.namespace}",
                    ),
                ),
            )


def check_unmirrored(evidence: Evidence) -> Iterator[Finding]:
    """Workloads that install packages, and not from the mirror."""
    state = get_mirror(evidence)
    for workload in require_seen(evidence.workloads):
        shown = find_package_installs(workload)
        if not shown or workload.is_proved:
            continue
        past = [one for one in iter_installers(workload) if not uses_mirror(one, state)]
        if past:
            told = [
                f"container {one.name} uses {url}" for one in past if (url := find_index_url(one))
            ]
            there = bool(state and state.ready)
            yield Finding(
                check="workloads.mirror",
                severity=Severity.WARNING,
                cause=f"{workload.title} installs packages, and not from the mirror",
                evidence=(*shown[:3], *told[:2]),
                why="Each start depends on the public index, on its name and on the way to it."
                + (
                    " What stands in its command wins over the environment: the --index-url there "
                    "has to go first."
                    if any(sets_index_in_command(one) for one in past)
                    else ""
                ),
                remedies=(
                    remedies.attach_workload(format_target(workload), workload.namespace),
                    remedies.build_image(workload.title),
                    *(() if there else (remedies.publish_environment([workload.namespace]),)),
                ),
            )
            continue
        frozen = [one.name for one in workload.containers if ignores_index(one)]
        if frozen:
            yield Finding(
                check="workloads.mirror",
                severity=Severity.WARNING,
                cause=f"{workload.title} was given the mirror and passes it by: --frozen",
                evidence=shown[:3],
                why="`uv run --frozen` and `uv sync --frozen` fetch the URLs that stand in uv.lock "
                f"and ignore every index setting (container {join_names(frozen)}).",
                remedies=(
                    remedies.build_image(workload.title),
                    Remedy(
                        text="Or leave --frozen out (uv.lock must be writable), or export the lock "
                        "and install with --require-hashes: docs/workloads.md.",
                        scope="workload",
                    ),
                ),
            )


def check_other_failures(evidence: Evidence) -> Iterator[Finding]:
    """Pods that fail without a word about downloads are said too, in one line."""
    other = []
    for workload in require_seen(evidence.workloads):
        fails = [pod for pod in workload.pods if pod.is_failing and pod.trouble not in _NOT_STARTED]
        told = [line for pod in fails for line in pod.log_lines if "failed" in classify_line(line)]
        if fails and not told:
            other.append(f"{workload.title}: {fails[0].trouble or fails[0].phase}")
    if other:
        yield Finding(
            check="workloads.other",
            severity=Severity.NOTE,
            cause=f"{len(other)} workload{'s fail' if other[1:] else ' fails'} for other reasons "
            "than downloads",
            evidence=tuple(other[:8]),
            why="Their logs tell of no download. They may be no concern of the mirror's.",
            remedies=(
                Remedy(
                    text="Read what they say.",
                    scope="workload",
                    command=f"kubectl -n {other[0].partition('/')[0]} logs "
                    f"{other[0].partition('/')[2].partition(':')[0]} --previous --tail=50",
                ),
            ),
        )


_WORKLOADS = frozenset({Need.WORKLOADS})

CHECKS = (
    DoctorCheck(
        id="workloads.failing",
        fact="no workload fails for want of a download",
        needs=_WORKLOADS,
        find=check_failing_downloads,
    ),
    DoctorCheck(
        id="workloads.config",
        fact="no workload waits for the mirror's ConfigMap",
        needs=_WORKLOADS,
        find=check_missing_config,
    ),
    DoctorCheck(
        id="workloads.mirror",
        fact="workloads that install packages take them from the mirror",
        needs=_WORKLOADS | {Need.MIRROR},
        find=check_unmirrored,
    ),
    DoctorCheck(
        id="workloads.other",
        fact="no workload fails for another reason",
        needs=_WORKLOADS,
        find=check_other_failures,
    ),
)
