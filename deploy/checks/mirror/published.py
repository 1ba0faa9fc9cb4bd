"""What workloads were given: its address, and the ConfigMaps that hold it."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.checks.mirror.wording import describe_users, run_mirror_up
from deploy.evidence.model import Evidence
from deploy.evidence.unseen import require_seen
from deploy.findings.model import Finding, Remedy, Severity
from deploy.findings.phrases import join_names


def check_address(evidence: Evidence) -> Iterator[Finding]:
    """The Service no longer has the address that workloads were given."""
    state = require_seen(evidence.mirror)
    if (
        not state.recorded_address
        or state.service_address == state.recorded_address
        or not state.replicas
    ):
        return
    now = f"has {state.service_address}" if state.service_address else "is gone"
    yield Finding(
        check="mirror.address",
        severity=Severity.ERROR,
        cause=f"workloads were given {state.recorded_address}, and the mirror's Service {now}",
        evidence=(
            f"Service {state.namespace}/pypi-mirror {now}",
            *describe_users(state),
        ),
        why="Every workload that uses the mirror gets no answer, although the mirror itself is "
        "well. The address is recorded, and `mirror up` asks for it again.",
        remedies=(run_mirror_up("Bring the Service back at its address."),),
    )


def check_published(evidence: Evidence) -> Iterator[Finding]:
    """Namespaces whose ConfigMap is not what the mirror would give them."""
    state = require_seen(evidence.mirror)
    wrong = {one.namespace: one for one in state.published if one.state != "right"}
    gone = [name for name, one in wrong.items() if one.state == "no namespace"]
    broken = {name: one for name, one in wrong.items() if one.state != "no namespace"}
    if broken and state.recorded_address:
        foreign = [name for name, one in broken.items() if one.state == "foreign"]
        yield Finding(
            check="mirror.published",
            severity=Severity.ERROR,
            cause="the environment that workloads take is not the mirror's in namespace "
            + join_names(broken),
            evidence=tuple(
                f"ConfigMap {name}/pypi-mirror-env "
                + {
                    "missing": "is gone",
                    "foreign": "is somebody else's",
                    "stale": f"gives {one.url or 'no index'}, the mirror is at {state.url}",
                }[one.state]
                for name, one in broken.items()
            ),
            why="Pods that start there are sent to an address where nothing answers; without the "
            "ConfigMap they do not start at all (CreateContainerConfigError). Running ones keep "
            "what they got.",
            remedies=(
                Remedy(
                    text=f"Rename or remove what is in the way in {join_names(foreign)}, "
                    "then publish."
                    if foreign
                    else "Publish it again, then restart what took the old one.",
                    scope="namespace",
                    command="mirror env --publish " + " ".join(broken),
                ),
            ),
        )
    if gone:
        yield Finding(
            check="mirror.published",
            severity=Severity.NOTE,
            cause=f"the mirror was published in namespaces that are gone: {join_names(gone)}",
            evidence=tuple(f"no namespace {name}" for name in gone),
            remedies=(run_mirror_up("Nothing has to be done; `mirror up` passes over them."),),
        )
