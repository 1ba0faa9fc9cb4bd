"""Hands of the Kubernetes API: keys of ConfigMaps, and specs of objects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from deploy.changes.model import ConfigMapKey, ObjectSpec, Target
from deploy.cluster.access import Permission
from deploy.cluster.api_resources import API_RESOURCES, get_permission_name, kind_name
from deploy.cluster.calico import find_current_kind
from deploy.cluster.client import ApiError, Cluster, Object
from deploy.manifests.mirror_objects import render_config_map
from deploy.manifests.model import is_ours
from mirror.core.errors import RefusedError
from mirror.merge import decode_spec, encode_spec
from mirror.snapshot import Snapshot, WriteConflict

_MINE = ("labels", "annotations")  # what of an object's metadata is restored with it
_NOT_MINE = ("deployment.kubernetes.io/", "autoscaling.alpha.kubernetes.io/")
_VERBS = ("get", "create", "update", "delete")


class ConfigMapDriver:
    """Values of ConfigMaps, compare-and-swap by resourceVersion; other keys are left alone."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def is_reachable(self, target: Target) -> bool:  # noqa: ARG002 - the API is there, or all fails
        return True

    def required_permissions(self, target: Target) -> Sequence[Permission]:
        assert isinstance(target, ConfigMapKey)
        where = target.namespace
        return [Permission(verb=verb, resource="configmaps", namespace=where) for verb in _VERBS]

    def read(self, target: Target) -> Snapshot:
        assert isinstance(target, ConfigMapKey)
        return self._held(target, self._cluster.get("ConfigMap", target.name, target.namespace))

    def write(
        self,
        target: Target,
        content: bytes | None,
        expected: Snapshot,
        metadata: str = "",  # noqa: ARG002 - a key has none
    ) -> Snapshot:
        assert isinstance(target, ConfigMapKey)
        found = self._cluster.get("ConfigMap", target.name, target.namespace)
        if self._held(target, found).content != expected.content:
            raise WriteConflict(str(target))
        try:
            return self._held(target, self._put(target, content, found))
        except ApiError as refusal:
            if refusal.status in {404, 409}:
                raise WriteConflict(str(target)) from refusal
            raise

    def _put(
        self, target: ConfigMapKey, content: bytes | None, found: Object | None
    ) -> Object | None:
        if found is None:
            if content is None:
                return None
            data = {target.key: content.decode()}
            return self._cluster.create(render_config_map(target.namespace, target.name, data))
        data = dict(found.get("data") or {})
        data.pop(target.key, None)
        if content is not None:
            data[target.key] = content.decode()
        if not data and not found.get("binaryData") and is_ours(found):
            # made by us for this key alone
            version = found["metadata"]["resourceVersion"]
            self._cluster.delete(
                "ConfigMap", target.name, target.namespace, resource_version=version
            )
            return None
        return self._cluster.replace({**_typed(found, "ConfigMap"), "data": data})

    @staticmethod
    def _held(target: ConfigMapKey, found: Object | None) -> Snapshot:
        if found is None:
            return Snapshot(content=None, version="")
        value = (found.get("data") or {}).get(target.key)
        if value is None and target.key in (found.get("binaryData") or {}):
            raise RefusedError(
                f"{target} holds binary data", why="it is no UTF-8 text, which this edits"
            )
        content = None if value is None else str(value).encode()
        return Snapshot(content=content, version=found["metadata"]["resourceVersion"])


class ObjectDriver:
    """Specs of objects. Removing the content deletes the object; it is made again from the frame.

    A later write by somebody to another part of the object (its status, its labels) is no
    conflict: the write is tried again on what stands there, as long as the spec is what was seen.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def is_reachable(self, target: Target) -> bool:  # noqa: ARG002 - the API is there, or all fails
        return True

    def required_permissions(self, target: Target) -> Sequence[Permission]:
        assert isinstance(target, ObjectSpec)
        resource = get_permission_name(find_current_kind(self._cluster, target.kind))
        verbs = ("get", "update") if API_RESOURCES[target.kind].namespaced else _VERBS
        return [Permission(verb=v, resource=resource, namespace=target.namespace) for v in verbs]

    def read(self, target: Target) -> Snapshot:
        assert isinstance(target, ObjectSpec)
        kind = find_current_kind(self._cluster, target.kind)
        return _held_spec(self._cluster.get(kind, target.name, target.namespace))

    def write(
        self, target: Target, content: bytes | None, expected: Snapshot, metadata: str = ""
    ) -> Snapshot:
        assert isinstance(target, ObjectSpec)
        kind = find_current_kind(self._cluster, target.kind)
        found = self._cluster.get(kind, target.name, target.namespace)
        if _held_spec(found).content != expected.content:
            raise WriteConflict(str(target))
        try:
            return _held_spec(self._put(replace(target, kind=kind), content, found, metadata))
        except ApiError as refusal:
            if refusal.status in {404, 409}:
                raise WriteConflict(str(target)) from refusal
            raise

    def _put(
        self, target: ObjectSpec, content: bytes | None, found: Object | None, frame: str
    ) -> Object | None:
        if content is None:
            if found is not None:
                version = found["metadata"]["resourceVersion"]
                self._cluster.delete(
                    target.kind, target.name, target.namespace, resource_version=version
                )
            return None
        spec = decode_spec(content)
        if found is not None and _goes(found):
            held_by = ", ".join(found["metadata"].get("finalizers", ())) or "its grace period"
            raise RefusedError(
                f"{target} is still being deleted, and cannot be made again before it is gone",
                why=f"what it waits for: {held_by}",
                next_step="run this again when it is gone; what was stored of it stays stored",
            )
        if found is not None:
            return self._cluster.replace({**_typed(found, target.kind), "spec": spec})
        meta: Object = {"name": target.name, **(json.loads(frame) if frame else {})}
        if target.namespace:
            meta["namespace"] = target.namespace
        return self._cluster.create(_typed({"metadata": meta, "spec": spec}, target.kind))


def _typed(found: Object, kind: str) -> Object:
    """With kind and version, which items of lists come without."""
    return {"apiVersion": API_RESOURCES[kind].api_version, "kind": kind_name(kind), **found}


def _goes(found: Object) -> bool:
    """Whether it is deleted, and only waits for those that are to clear up first."""
    return "deletionTimestamp" in found["metadata"]


def _held_spec(found: Object | None) -> Snapshot:
    if found is None or _goes(found):
        return Snapshot(content=None, version="")
    meta = found["metadata"]
    return Snapshot(
        content=encode_spec(found.get("spec", {})),
        version=meta["resourceVersion"],
        metadata=json.dumps({part: _own(meta.get(part)) for part in _MINE if meta.get(part)}),
    )


def _own(labels: dict[str, Any] | None) -> dict[str, Any]:
    """Without what controllers keep there."""
    return {k: v for k, v in (labels or {}).items() if not k.startswith(_NOT_MINE)}
