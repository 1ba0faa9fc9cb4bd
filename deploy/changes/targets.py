"""Drivers for targets of the Kubernetes API: keys of ConfigMaps, and specs of objects."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

from deploy.changes.model import ConfigMapKey, ObjectSpec, Target, TargetDriver
from deploy.cluster.access import Permission
from deploy.cluster.api_resources import API_RESOURCES, get_permission_name, kind_name
from deploy.cluster.calico import find_current_kind
from deploy.cluster.client import ApiError, Cluster, Object
from deploy.manifests.mirror_objects import render_config_map
from deploy.manifests.model import is_ours
from mirror.core.errors import RefusedError
from mirror.merge import decode_spec, encode_spec
from mirror.snapshot import Snapshot, WriteConflict

_RESTORED_METADATA = ("labels", "annotations")
_CONTROLLER_PREFIXES = ("deployment.kubernetes.io/", "autoscaling.alpha.kubernetes.io/")
_VERBS = ("get", "create", "update", "delete")

T = TypeVar("T", ConfigMapKey, ObjectSpec)


class _ApiDriver(TargetDriver, Generic[T]):
    """A target inside an object of the API, compare-and-swap by its resourceVersion.

    Another write to a different part of the object (its status, its labels, another key) is no
    conflict: the write is based on the object as it is now, as long as the target is as expected.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def is_reachable(self, target: Target) -> bool:  # noqa: ARG002 - without the API all fails
        return True

    def read(self, target: Target) -> Snapshot:
        located = self._locate(target)
        return self._snapshot(located, self._get(located))

    def write(
        self, target: Target, content: bytes | None, expected: Snapshot, metadata: str = ""
    ) -> Snapshot:
        located = self._locate(target)
        obj = self._get(located)
        if self._snapshot(located, obj).content != expected.content:
            raise WriteConflict(str(target))
        try:
            return self._snapshot(located, self._put(located, content, obj, metadata))
        except ApiError as error:
            if error.status in {404, 409}:
                raise WriteConflict(str(target)) from error
            raise

    @abstractmethod
    def _locate(self, target: Target) -> T:
        """Return the target by the kind under which the API has it now."""

    @abstractmethod
    def _get(self, target: T) -> Object | None: ...

    @abstractmethod
    def _put(
        self, target: T, content: bytes | None, obj: Object | None, metadata: str
    ) -> Object | None: ...

    @staticmethod
    @abstractmethod
    def _snapshot(target: T, obj: Object | None) -> Snapshot: ...


class ConfigMapDriver(_ApiDriver[ConfigMapKey]):
    """Values of ConfigMaps. Other keys are left alone."""

    def required_permissions(self, target: Target) -> Sequence[Permission]:
        namespace = self._locate(target).namespace
        return [Permission(verb=v, resource="configmaps", namespace=namespace) for v in _VERBS]

    def _locate(self, target: Target) -> ConfigMapKey:
        assert isinstance(target, ConfigMapKey)
        return target

    def _get(self, target: ConfigMapKey) -> Object | None:
        return self._cluster.get("ConfigMap", target.name, target.namespace)

    def _put(
        self,
        target: ConfigMapKey,
        content: bytes | None,
        obj: Object | None,
        metadata: str,  # noqa: ARG002 - a key has none
    ) -> Object | None:
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
            # we created it for this key alone
            version = obj["metadata"]["resourceVersion"]
            self._cluster.delete(
                "ConfigMap", target.name, target.namespace, resource_version=version
            )
            return None
        return self._cluster.replace({**_with_type(obj, "ConfigMap"), "data": data})

    @staticmethod
    def _snapshot(target: ConfigMapKey, obj: Object | None) -> Snapshot:
        if obj is None:
            return Snapshot(content=None, version="")
        value = (obj.get("data") or {}).get(target.key)
        if value is None and target.key in (obj.get("binaryData") or {}):
            raise RefusedError(f"{target} holds binary data", why="only UTF-8 text can be edited")
        content = None if value is None else str(value).encode()
        return Snapshot(content=content, version=obj["metadata"]["resourceVersion"])


class ObjectDriver(_ApiDriver[ObjectSpec]):
    """Specs of objects. None deletes the object; the metadata serves to create it again."""

    def required_permissions(self, target: Target) -> Sequence[Permission]:
        spec = self._locate(target)
        resource = get_permission_name(spec.kind)
        verbs = ("get", "update") if API_RESOURCES[spec.kind].namespaced else _VERBS
        return [Permission(verb=v, resource=resource, namespace=spec.namespace) for v in verbs]

    def _locate(self, target: Target) -> ObjectSpec:
        assert isinstance(target, ObjectSpec)
        return replace(target, kind=find_current_kind(self._cluster, target.kind))

    def _get(self, target: ObjectSpec) -> Object | None:
        return self._cluster.get(target.kind, target.name, target.namespace)

    def _put(
        self, target: ObjectSpec, content: bytes | None, obj: Object | None, metadata: str
    ) -> Object | None:
        if content is None:
            if obj is not None:
                version = obj["metadata"]["resourceVersion"]
                self._cluster.delete(
                    target.kind, target.name, target.namespace, resource_version=version
                )
            return None
        spec = decode_spec(content)
        if obj is not None and _is_being_deleted(obj):
            blockers = ", ".join(obj["metadata"].get("finalizers", ())) or "its grace period"
            raise RefusedError(
                f"{target} is still being deleted and cannot be created again before it is gone",
                why=f"it waits for: {blockers}",
                next_step="run this again once it is gone; its stored copy is kept",
            )
        if obj is not None:
            return self._cluster.replace({**_with_type(obj, target.kind), "spec": spec})
        meta: Object = {"name": target.name, **(json.loads(metadata) if metadata else {})}
        if target.namespace:
            meta["namespace"] = target.namespace
        return self._cluster.create(_with_type({"metadata": meta, "spec": spec}, target.kind))

    @staticmethod
    def _snapshot(target: ObjectSpec, obj: Object | None) -> Snapshot:  # noqa: ARG004
        if obj is None or _is_being_deleted(obj):
            return Snapshot(content=None, version="")
        meta = obj["metadata"]
        restored = {
            part: _without_controller_keys(meta[part])
            for part in _RESTORED_METADATA
            if meta.get(part)
        }
        return Snapshot(
            content=encode_spec(obj.get("spec", {})),
            version=meta["resourceVersion"],
            metadata=json.dumps(restored),
        )


def _with_type(obj: Object, kind: str) -> Object:
    """Add apiVersion and kind, which items of lists do not have."""
    return {"apiVersion": API_RESOURCES[kind].api_version, "kind": kind_name(kind), **obj}


def _is_being_deleted(obj: Object) -> bool:
    """Return whether the object is deleted and only waits for its finalizers."""
    return "deletionTimestamp" in obj["metadata"]


def _without_controller_keys(labels: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in labels.items() if not k.startswith(_CONTROLLER_PREFIXES)}
