"""Workloads that fail because downloads fail, or that do not use the mirror."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from deploy.evidence import startup
from deploy.evidence.isolation import render_allow_command
from deploy.evidence.log_lines import filter_lines
from deploy.evidence.model import Evidence, Need
from deploy.evidence.unseen import require_seen
from deploy.evidence.workloads import Workload
from deploy.findings import remedies
from deploy.findings.model import (
    INFERRED,
    READ,
    SEEN,
    Finding,
    Remedy,
    Severity,
    check,
    error,
    note,
    report,
    warning,
)
from deploy.findings.phrases import join_names, on_nodes

CATEGORY = "workloads"
RANK = 80  # its position in the report

_MUSL_ERROR = re.compile(
    r"Name has no usable address|failed to lookup address .*Name does not resolve"
)
_NAME_ERROR = re.compile(
    r"Name has no usable address|Name does not resolve|Name or service not known"
    r"|Temporary failure in name resolution|No address associated|Could not resolve|lookup address"
)
_ROUTE_ERROR = re.compile(r"etwork (is )?unreachable|os error 101")
_DOWNLOAD_ERROR = re.compile(
    r"Failed to (fetch|download)|error sending request for url|No matching distribution"
    r"|Could not find a version|pip\b|simple/|LocalEntryNotFoundError|couldn't connect to"
)
_NOT_STARTED = {"CreateContainerConfigError", "CreateContainerError"}


@check("workloads.failing", "no workload fails because of a download", SEEN, Need.WORKLOADS)
def check_failing_downloads(evidence: Evidence) -> Iterator[Finding]:
    for workload in require_seen(evidence.workloads):
        failing = workload.failing_pods
        lines = filter_lines((line for pod in failing for line in pod.log_lines), "failed")
        log = "\n".join(lines)
        reports_download = _DOWNLOAD_ERROR.search(log) or _MUSL_ERROR.search(log)
        if not lines or not (reports_download or startup.find_downloads(workload, "packages")):
            continue
        target, namespace = workload.target, workload.namespace
        ndots = [remedies.set_ndots(target, namespace)] if _NAME_ERROR.search(log) else []
        mirror = startup.get_mirror(evidence)
        installers = startup.list_installers(workload)
        if all(startup.uses_mirror(each, mirror) for each in installers):
            use_mirror = [Remedy("See what the mirror reports.", "workload", "mirror status")]
        else:
            use_mirror = [*ndots, remedies.attach_workload(target, namespace)]
        yield error(
            f"{workload.title} fails because its downloads fail",
            *use_mirror,
            remedies.build_image(workload.title),
            *([] if mirror and mirror.ready else [remedies.publish_environment(namespace)]),
            nodes=dict.fromkeys(pod.node for pod in failing if pod.node),
            evidence=(
                *(
                    f"pod {pod.name} {on_nodes([pod.node])}: {pod.trouble or pod.phase}, "
                    f"{pod.restarts} restarts"
                    for pod in failing[:3]
                ),
                # the first line names what was requested, the last lines the cause
                *(f"log: {line}" for line in dict.fromkeys((*lines[:1], *lines[-3:]))),
            ),
            why=_explain_failure(log),
        )


def _explain_failure(log: str) -> str:
    if _MUSL_ERROR.search(log):
        return (
            "musl reports `Name has no usable address` (older versions: `Name does not resolve`) "
            "if a search domain answers where it should not: see dns.search-domains. curl in the "
            "same pod resolves the name."
        )
    if _NAME_ERROR.search(log):
        return "The name does not resolve: see dns."
    if _ROUTE_ERROR.search(log):
        return (
            "The pod cannot reach the address: an IPv6 address without a working IPv6 route, or "
            "pods may not leave the cluster: see dns.ipv6-answers, ipv6.pods and dns.egress."
        )
    return "The index did not answer, or cannot be reached: see dns.egress and mirror."


@check("workloads.config", "no workload waits for the mirror's ConfigMap", SEEN, Need.WORKLOADS)
def check_missing_config(evidence: Evidence) -> Iterator[Finding]:
    for workload in require_seen(evidence.workloads):
        waiting = [pod for pod in workload.pods if pod.trouble in _NOT_STARTED]
        if waiting and any("pypi-mirror-env" in each.env_maps for each in workload.containers):
            yield error(
                f"{workload.title} does not start: it takes the ConfigMap pypi-mirror-env",
                Remedy(
                    "Publish it there.", "namespace", f"mirror env --publish {workload.namespace}"
                ),
                nodes=dict.fromkeys(pod.node for pod in waiting),
                evidence=(f"pod {pod.name}: {pod.trouble}" for pod in waiting[:3]),
                why="Its containers get their environment from this ConfigMap (envFrom), and their "
                "namespace does not have it.",
            )


@check(
    "workloads.mirror",
    "workloads that install packages use the mirror",
    READ,
    Need.MIRROR,
    Need.WORKLOADS,
)
def check_unmirrored(evidence: Evidence) -> Iterator[Finding]:
    mirror = startup.get_mirror(evidence)
    for workload in require_seen(evidence.workloads):
        shown = startup.find_downloads(workload, "packages")
        if not shown or workload.is_proved:
            continue
        installers = startup.list_installers(workload)
        unmirrored = [each for each in installers if not startup.uses_mirror(each, mirror)]
        if unmirrored:
            indexes = [
                f"container {container.name} uses {url}"
                for container in unmirrored
                if (url := startup.find_index_url(container))
            ]
            publish = remedies.publish_environment(workload.namespace)
            yield warning(
                f"{workload.title} installs packages, and not from the mirror",
                remedies.attach_workload(workload.target, workload.namespace),
                remedies.build_image(workload.title),
                *([] if mirror and mirror.ready else [publish]),
                evidence=(*shown[:3], *indexes[:2]),
                why="Each start depends on the public index, on DNS and on the network."
                + (
                    " An --index-url in its command overrides the environment: remove it first."
                    if any(map(startup.sets_index_in_command, unmirrored))
                    else ""
                ),
            )
            continue
        frozen = [each.name for each in workload.containers if startup.ignores_index(each)]
        if frozen:
            yield warning(
                f"{workload.title} is configured to use the mirror but bypasses it: --frozen",
                remedies.build_image(workload.title),
                Remedy(
                    "Or drop --frozen (uv.lock must be writable), or export the lock and "
                    "install with --require-hashes: docs/workloads.md.",
                    "workload",
                ),
                evidence=shown[:3],
                why="`uv run --frozen` and `uv sync --frozen` download from the URLs in uv.lock "
                f"and ignore every index setting (container {join_names(frozen)}).",
            )


@check(
    "workloads.policies",
    "no NetworkPolicy keeps a workload from the mirror",
    INFERRED,
    Need.MIRROR,
    Need.WORKLOADS,
)
def check_isolated(evidence: Evidence) -> Iterator[Finding]:
    mirror = startup.get_mirror(evidence)
    if mirror is None:
        return
    isolated: dict[str, list[Workload]] = {}
    for workload in require_seen(evidence.workloads):
        uses_it = any(startup.uses_mirror(each, mirror) for each in workload.containers)
        if uses_it and workload.isolated_by:
            isolated.setdefault(workload.namespace, []).append(workload)
    for namespace, workloads in isolated.items():
        policies = dict.fromkeys(name for each in workloads for name in each.isolated_by)
        yield error(
            f"NetworkPolicy {join_names(policies)} of namespace {namespace} keeps "
            f"{join_names(each.target for each in workloads)} from the mirror",
            Remedy(
                "Allow the pods of the namespace to connect to the mirror, and to nothing else.",
                "namespace",
                render_allow_command(namespace, mirror.namespace, mirror.port),
            ),
            evidence=(f"{each.title} uses the mirror" for each in workloads[:3]),
            why="Its pods may connect only to what a policy names, and none names the mirror. Pods "
            "in other namespaces, such as those of `mirror doctor`, still reach it. A network "
            "plugin that does not enforce policies makes no difference.",
        )


@check(
    "workloads.proxy",
    "no workload asks a proxy for the mirror",
    INFERRED,
    Need.MIRROR,
    Need.WORKLOADS,
)
def check_proxies(evidence: Evidence) -> Iterator[Finding]:
    mirror = startup.get_mirror(evidence)
    if mirror is None or not mirror.recorded_address:
        return
    for workload in require_seen(evidence.workloads):
        for container in workload.containers:
            variables = dict(each.split("=", 1) for each in container.env)
            found = startup.find_proxy(variables, mirror.recorded_address, mirror.port)
            if found is None or not startup.uses_mirror(container, mirror):
                continue
            proxy, exceptions = found
            values = " ".join(f"{name}={shlex.quote(v)}" for name, v in exceptions.items())
            yield report(
                Severity.ERROR if workload.failing_pods else Severity.WARNING,
                f"{workload.title} asks the proxy in {proxy} for the mirror",
                Remedy(
                    "Except the mirror's address from the proxy.",
                    "workload",
                    f"kubectl -n {workload.namespace} set env {workload.target} {values}",
                    side_effect="its pods restart",
                ),
                evidence=(
                    f"container {container.name}: {proxy}={variables[proxy]}, NO_PROXY="
                    f"{variables.get('NO_PROXY') or variables.get('no_proxy') or '(not set)'}",
                ),
                certainty=SEEN if workload.failing_pods else None,
                why="uv and pip send every request to the proxy, which cannot reach an address "
                "inside the cluster, unless NO_PROXY has the address.",
            )
            break


@check("workloads.other", "no workload fails for another reason", SEEN, Need.WORKLOADS)
def check_other_failures(evidence: Evidence) -> Iterator[Finding]:
    failures = []
    for workload in require_seen(evidence.workloads):
        failing = [pod for pod in workload.failing_pods if pod.trouble not in _NOT_STARTED]
        lines = (line for pod in failing for line in pod.log_lines)
        if failing and not filter_lines(lines, "failed"):
            failures.append((workload, failing[0].trouble or failing[0].phase))
    if failures:
        first = failures[0][0]
        yield note(
            f"{len(failures)} workload{'s fail' if failures[1:] else ' fails'} for other "
            "reasons than downloads",
            Remedy(
                "Read their logs.",
                "workload",
                f"kubectl -n {first.namespace} logs {first.target} --previous --tail=50",
            ),
            evidence=(f"{workload.title}: {reason}" for workload, reason in failures[:8]),
            why="Their logs report no failed downloads, so the mirror is probably not involved.",
        )


# the causes first: `next:` is the first remedy of the first of the worst findings
CHECKS = (
    check_missing_config,
    check_isolated,
    check_proxies,
    check_failing_downloads,
    check_unmirrored,
    check_other_failures,
)
