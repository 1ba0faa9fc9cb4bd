"""A workload that uses the index (envFrom) and tries names as they are first (ndots 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deploy.changes.model import (
    CannotEdit,
    Change,
    Edit,
    EditOptions,
    Fix,
    ObjectSpec,
    Refusal,
    Target,
)
from deploy.evidence.model import Evidence
from deploy.manifests.model import ENV_MAP
from mirror.merge import decode_spec, encode_spec

NAME = "attach"


def plan_changes(
    evidence: Evidence,  # noqa: ARG001 - the workloads are named, not found
    options: EditOptions,
    held: tuple[Change, ...],  # noqa: ARG001
) -> tuple[Change, ...] | Refusal:
    """A change for each of the targets that were given."""
    return plan_attachments(options["targets"], index=options["index"], ndots=options["ndots"])


def plan_attachments(
    targets: Sequence[ObjectSpec], *, index: bool, ndots: bool
) -> tuple[Change, ...]:
    """The same edit for each of these workloads."""
    why = [f"containers take ConfigMap {ENV_MAP}"] if index else []
    why += ["names with a dot are tried as they are first (ndots 1)"] if ndots else []
    edit = Edit(fix=NAME, options={"index": index, "ndots": ndots})
    return tuple(Change(target=one, edit=edit, why=", ".join(why)) for one in targets)


def edit(edit: Edit, target: Target, content: bytes | None) -> bytes | None:
    """The spec with envFrom in every container, and dnsConfig."""
    assert isinstance(target, ObjectSpec)
    if content is None:
        raise CannotEdit(f"{target} does not exist")
    spec = decode_spec(content)
    pod = get_pod_spec(target.kind, spec)
    if edit.options["index"]:
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            _take_index(container)
    if edit.options["ndots"]:
        _try_as_is(pod)
    return encode_spec(spec)


def get_pod_spec(kind: str, spec: Any) -> Any:
    """The pod's spec inside of a workload's."""
    job = spec["jobTemplate"]["spec"] if kind == "CronJob" else spec
    return job["template"]["spec"]


def _take_index(container: Any) -> None:
    sources = container.setdefault("envFrom", [])
    if not any(one.get("configMapRef", {}).get("name") == ENV_MAP for one in sources):
        # at the end: of several sources with one variable the last one counts
        sources.append({"configMapRef": {"name": ENV_MAP}})


def _try_as_is(pod: Any) -> None:
    options = pod.setdefault("dnsConfig", {}).setdefault("options", [])
    for one in options:
        if one.get("name") == "ndots":
            one["value"] = "1"
            return
    options.append({"name": "ndots", "value": "1"})


def reapply_command(target: Target, edit: Edit) -> str:
    """The command for this workload, with the options of then."""
    assert isinstance(target, ObjectSpec)
    more = " --ndots" if edit.options["ndots"] else ""
    more += "" if edit.options["index"] else " --no-index"
    return f"mirror attach {target.kind.lower()}/{target.name} -n {target.namespace}{more}"


FIX = Fix(
    name=NAME,
    order=5,
    summary="a workload uses the index",
    impact="its pods are replaced; with ndots 1 short names such as service.namespace stop "
    "resolving in them (service.namespace.svc.cluster.local goes on to)",
    needs=frozenset(),
    plan_changes=plan_changes,
    edit=edit,
    command="attach",
    reapply_command=reapply_command,
)
