"""Patches that attach workloads in their source, where a tool would revert a change. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.changes.attachment import AttachmentEditor, get_pod_spec, plan_attachments
from deploy.changes.model import ObjectSpec
from deploy.cluster.client import Object
from mirror.merge import decode_spec, encode_spec


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachPatch:
    """A strategic merge patch to commit, as kustomize takes it, and the tool that applies it."""

    workload: str
    manager: str
    patch: Object


def build_patch(
    target: ObjectSpec, obj: Object, manager: str, *, index: bool, ndots: bool
) -> AttachPatch | None:
    """Return the patch of one workload; None if it has all of it already."""
    (change,) = plan_attachments((target,), index=index, ndots=ndots)
    content = AttachmentEditor().edit(change.edit, target, encode_spec(obj["spec"]))
    assert content is not None
    before, after = get_pod_spec(target.kind, obj["spec"]), decode_spec(content)
    if after == obj["spec"]:
        return None
    pod: Object = _find_changes(before, get_pod_spec(target.kind, after))
    spec: Object = {"template": {"spec": pod}}
    if target.kind == "CronJob":
        spec = {"jobTemplate": {"spec": spec}}
    api_version = "batch/v1" if target.kind == "CronJob" else "apps/v1"
    metadata = {"name": target.name, "namespace": target.namespace}
    patch = {"apiVersion": api_version, "kind": target.kind, "metadata": metadata, "spec": spec}
    return AttachPatch(workload=str(target), manager=manager, patch=patch)


def _find_changes(before: Object, after: Object) -> Object:
    """Return the fields of a pod spec that differ; a patch replaces these lists as a whole."""
    changes: Object = {}
    if after.get("dnsConfig") != before.get("dnsConfig"):
        changes["dnsConfig"] = after["dnsConfig"]
    for kind in ("initContainers", "containers"):
        pairs = zip(before.get(kind) or (), after.get(kind) or (), strict=True)
        containers = [
            {"name": new["name"], "envFrom": new["envFrom"]} for old, new in pairs if new != old
        ]
        if containers:
            changes[kind] = containers
    return changes
