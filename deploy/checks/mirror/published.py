"""The mirror's address, and the published ConfigMaps that contain it."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.checks.mirror.wording import describe_users, run_mirror_up
from deploy.evidence.model import Evidence, Need
from deploy.evidence.unseen import require_seen
from deploy.findings.model import Finding, Remedy, check, error, note
from deploy.findings.phrases import join_names


@check("mirror.address", "it has the address that workloads use", Need.MIRROR)
def check_address(evidence: Evidence) -> Iterator[Finding]:
    state = require_seen(evidence.mirror)
    if not state.recorded_address or not state.replicas:
        return
    if state.service_address == state.recorded_address:
        return
    actual = f"has {state.service_address}" if state.service_address else "is gone"
    yield error(
        f"workloads were given {state.recorded_address}, and the mirror's Service {actual}",
        run_mirror_up("Restore the Service with its address."),
        evidence=(
            f"Service {state.namespace}/pypi-mirror {actual}",
            *describe_users(state),
        ),
        why="Workloads that use the mirror get no answer, although the mirror itself works. The "
        "address is recorded; `mirror up` requests it again.",
    )


@check("mirror.published", "the published ConfigMaps are right", Need.MIRROR)
def check_published(evidence: Evidence) -> Iterator[Finding]:
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
        yield error(
            "the environment that workloads take is not the mirror's in namespace "
            + join_names(broken),
            Remedy(
                f"Rename or remove the other ConfigMap in {join_names(foreign)}, then publish."
                if foreign
                else "Publish it again, then restart the pods that use the old one.",
                "namespace",
                "mirror env --publish " + " ".join(broken),
            ),
            evidence=(
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
        )
    if deleted:
        yield note(
            f"the mirror was published in namespaces that are gone: {join_names(deleted)}",
            run_mirror_up("Nothing has to be done; `mirror up` skips them."),
            evidence=(f"no namespace {name}" for name in deleted),
        )
