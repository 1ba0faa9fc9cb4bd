"""The driver for targets of the Kubernetes API: keys of ConfigMaps, and specs of objects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from deploy.changes.model import ConfigMapKey, ObjectSpec, Target
from deploy.cluster.access import Permission, list_permissions
from deploy.cluster.api_resources import API_RESOURCES, get_permission_name, kind_name
from deploy.cluster.calico import find_current_kind
from deploy.cluster.client import ApiError, Cluster, Object
from deploy.manifests.agent import NODE_DEFAULTS_MAP
from deploy.manifests.mirror_objects import render_config_map
from deploy.manifests.model import is_ours
from mirror.core.errors import RefusedError
from mirror.merge import decode_spec, encode_spec
from mirror.snapshot import Snapshot, WriteConflict

_RESTORED_METADATA = ("labels", "annotations")
_CONTROLLER_PREFIXES = ("deployment.kubernetes.io/", "autoscaling.alpha.kubernetes.io/")


class ApiDriver:
    """Reads and writes targets inside an object, compare-and-swap by its resourceVersion.

    A write by others to a different part of the object (its status, its labels, another key) is not
    a conflict: as long as the target is as expected, the rest of the object is written as it is
    now.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def is_reachable(self, target: Target) -> bool:  # noqa: ARG002 - without the API all fails
        return True

    def required_permissions(self, target: Target) -> Sequence[Permission]:
        located = self._locate(target)
        # `mirror attach` changes specs in namespaces that belong to users: it needs no more
        is_spec = isinstance(located, ObjectSpec) and API_RESOURCES[located.kind].namespaced
        verbs = "get update" if is_spec else "get create update delete"
        return list_permissions(verbs, get_permission_name(located.kind), located.namespace)

    def read(self, target: Target) -> Snapshot:
        located = self._locate(target)
        return _take_snapshot(located, self._get(located))

    def write(
        self,
        target: Target,
        content: bytes | None,
        expected: Snapshot,
        metadata: str = "",
        *,
        force: bool = False,
    ) -> Snapshot:
        located = self._locate(target)
        obj = self._get(located)
        if _take_snapshot(located, obj).content != expected.content:
            raise WriteConflict(str(target))
        try:
            if isinstance(located, ConfigMapKey):
                return _take_snapshot(located, self._put_key(located, content, obj))
            put = self._put_spec(located, content, obj, metadata, force=force)
            return _take_snapshot(located, put)
        except ApiError as error:
            if error.status in {404, 409}:
                raise WriteConflict(str(target)) from error
            raise

    def _locate(self, target: Target) -> ConfigMapKey | ObjectSpec:
        """Return the target by the kind under which the API has it now."""
        if isinstance(target, ConfigMapKey):
            return target
        assert isinstance(target, ObjectSpec)
        return replace(target, kind=find_current_kind(self._cluster, target.kind))

    def _get(self, target: ConfigMapKey | ObjectSpec) -> Object | None:
        return self._cluster.get(target.kind, target.name, target.namespace)

    def _delete(self, target: ConfigMapKey | ObjectSpec, obj: Object) -> None:
        version = obj["metadata"]["resourceVersion"]
        self._cluster.delete(target.kind, target.name, target.namespace, resource_version=version)

    def _put_key(
        self, target: ConfigMapKey, content: bytes | None, obj: Object | None
    ) -> Object | None:
        if obj is not None and target.name == NODE_DEFAULTS_MAP:
            return self._replace_owned(target, content, obj)
        if obj is None:
            if content is None:
                return None
            data = {target.key: content.decode()}
            return self._cluster.create(render_config_map(target.namespace, target.name, data))
        data = dict(obj.get("data") or {})
        data.pop(target.key, None)
        if content is not None:
            data[target.key] = content.decode()
        if not data and not obj.get("binaryData") and is_ours(obj):
            self._delete(target, obj)  # we created it for this key alone
            return None
        return self._cluster.replace({**_with_type(obj, "ConfigMap"), "data": data})

    def _replace_owned(
        self, target: ConfigMapKey, content: bytes | None, obj: Object
    ) -> Object | None:
        """Write a ConfigMap that is wholly ours: nothing that others put into it stays."""
        if content is None or obj.get("immutable"):
            self._delete(target, obj)
        if content is None:
            return None
        rendered = render_config_map(target.namespace, target.name, {target.key: content.decode()})
        if obj.get("immutable"):
            return self._cluster.create(rendered)
        version = {"resourceVersion": obj["metadata"]["resourceVersion"]}
        return self._cluster.replace({**rendered, "metadata": {**rendered["metadata"], **version}})

    def _put_spec(
        self,
        target: ObjectSpec,
        content: bytes | None,
        obj: Object | None,
        metadata: str,
        *,
        force: bool,
    ) -> Object | None:
        if content is None:
            if obj is not None:
                self._delete(target, obj)
            return None
        spec = decode_spec(content)
        if obj is not None and _is_being_deleted(obj):
            raise _still_being_deleted(target, obj)
        if obj is not None:
            try:
                return self._cluster.replace({**_with_type(obj, target.kind), "spec": spec})
            except ApiError as error:
                if error.status != 422:
                    raise
                if not force:
                    raise _cannot_change_in_place(target, error) from error
            self._delete(target, obj)
            remaining = self._get(target)
            if remaining is not None:
                raise _still_being_deleted(target, remaining)
        stored = json.loads(metadata) if metadata else {}
        meta: Object = {part: stored[part] for part in _RESTORED_METADATA if part in stored}
        meta["name"] = target.name
        if target.namespace:
            meta["namespace"] = target.namespace
        return self._cluster.create(_with_type({"metadata": meta, "spec": spec}, target.kind))


def _still_being_deleted(target: ObjectSpec, obj: Object) -> RefusedError:
    blockers = ", ".join(obj["metadata"].get("finalizers", ())) or "its grace period"
    return RefusedError(
        f"{target} is still being deleted and cannot be created again before it is gone",
        why=f"it waits for: {blockers}",
        next_step="run the same command again once it is gone; its stored copy is kept",
    )


def _cannot_change_in_place(target: ObjectSpec, error: ApiError) -> RefusedError:
    return RefusedError(
        f"{target} cannot be changed to what it was",
        why=f"{error.why or error}; somebody has made it anew with another value",
        next_step="run the same command again with --force, which deletes it and creates it as it "
        "was",
    )


def _take_snapshot(target: ConfigMapKey | ObjectSpec, obj: Object | None) -> Snapshot:
    if obj is None:
        return Snapshot(content=None, version="")
    meta = obj["metadata"]
    if isinstance(target, ConfigMapKey):
        return Snapshot(content=_read_key(target, obj), version=meta["resourceVersion"])
    if _is_being_deleted(obj):
        return Snapshot(content=None, version="")
    restored = {
        part: _without_controller_keys(meta[part]) for part in _RESTORED_METADATA if meta.get(part)
    }
    return Snapshot(
        content=encode_spec(obj.get("spec", {})),
        version=meta["resourceVersion"],
        metadata=json.dumps(restored),
    )


def _read_key(target: ConfigMapKey, obj: Object) -> bytes | None:
    value = (obj.get("data") or {}).get(target.key)
    if value is None and target.key in (obj.get("binaryData") or {}):
        raise RefusedError(f"{target} holds binary data", why="only UTF-8 text can be edited")
    return None if value is None else str(value).encode()


def _with_type(obj: Object, kind: str) -> Object:
    """Add apiVersion and kind, which items of lists do not have."""
    return {"apiVersion": API_RESOURCES[kind].api_version, "kind": kind_name(kind), **obj}


def _is_being_deleted(obj: Object) -> bool:
    """Return whether the object is deleted and only waits for its finalizers."""
    return "deletionTimestamp" in obj["metadata"]


def _without_controller_keys(labels: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in labels.items() if not k.startswith(_CONTROLLER_PREFIXES)}
