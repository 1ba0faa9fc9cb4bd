"""The mirror's address, and the published ConfigMaps that contain it."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.checks.mirror.wording import describe_users, run_mirror_up
from deploy.evidence.model import Evidence
from deploy.evidence.unseen import require_seen
from deploy.findings.model import Finding, Remedy, Severity
from deploy.findings.phrases import join_names


def check_address(evidence: Evidence) -> Iterator[Finding]:
    """Find a Service that no longer has the address that workloads use."""
    state = require_seen(evidence.mirror)
    if not state.recorded_address or not state.replicas:
        return
    if state.service_address == state.recorded_address:
        return
    actual = f"has {state.service_address}" if state.service_address else "is gone"
    yield Finding(
        severity=Severity.ERROR,
        cause=f"workloads were given {state.recorded_address}, and the mirror's Service {actual}",
        evidence=(
            f"Service {state.namespace}/pypi-mirror {actual}",
            *describe_users(state),
        ),
        why="Workloads that use the mirror get no answer, although the mirror itself works. The "
        "address is recorded; `mirror up` requests it again.",
        remedies=(run_mirror_up("Restore the Service with its address."),),
    )


def check_published(evidence: Evidence) -> Iterator[Finding]:
    """Find namespaces whose ConfigMap differs from what the mirror publishes."""
    state = require_seen(evidence.mirror)
    wrong = {
        config_map.namespace: config_map
        for config_map in state.published
        if config_map.state != "right"
    }
    deleted = [name for name, config_map in wrong.items() if config_map.state == "no namespace"]
    broken = {name: config_map for name, config_map in wrong.items() if name not in deleted}
    if broken and state.recorded_address:
        foreign = [name for name, config_map in broken.items() if config_map.state == "foreign"]
        yield Finding(
            severity=Severity.ERROR,
            cause="the environment that workloads take is not the mirror's in namespace "
            + join_names(broken),
            evidence=tuple(
                f"ConfigMap {name}/pypi-mirror-env "
                + {
                    "missing": "is missing",
                    "foreign": "was not created by this program",
                    "stale": f"contains {config_map.url or 'no index'}, the mirror is at "
                    f"{state.url}",
                }[config_map.state]
                for name, config_map in broken.items()
            ),
            why="New pods there use an address where nothing answers; without the ConfigMap they "
            "do not start at all (CreateContainerConfigError). Running pods keep their "
            "environment.",
            remedies=(
                Remedy(
                    text=f"Rename or remove the other ConfigMap in {join_names(foreign)}, then "
                    "publish."
                    if foreign
                    else "Publish it again, then restart the pods that use the old one.",
                    scope="namespace",
                    command="mirror env --publish " + " ".join(broken),
                ),
            ),
        )
    if deleted:
        yield Finding(
            severity=Severity.NOTE,
            cause=f"the mirror was published in namespaces that are gone: {join_names(deleted)}",
            evidence=tuple(f"no namespace {name}" for name in deleted),
            remedies=(run_mirror_up("Nothing has to be done; `mirror up` skips them."),),
        )
