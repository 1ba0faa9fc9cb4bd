"""Hands of the Kubernetes API: keys of ConfigMaps, and specs of objects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from deploy.changes.model import ConfigMapKey, Held, Moved, ObjectSpec, Right, Target
from deploy.cluster.calico import moved
from deploy.cluster.client import ApiRefusal, Cluster, Object
from deploy.cluster.kinds import KINDS, named, right
from deploy.manifests.model import is_ours
from deploy.manifests.objects import config_map
from mirror.core.errors import RefusedError
from mirror.merge import canonical, parsed

_MINE = ("labels", "annotations")  # what of an object's metadata is restored with it
_NOT_MINE = ("deployment.kubernetes.io/", "autoscaling.alpha.kubernetes.io/")
_VERBS = ("get", "create", "update", "delete")


class ConfigMapHand:
    """Values of ConfigMaps, compare-and-swap by resourceVersion; other keys are left alone."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def reaches(self, target: Target) -> bool:  # noqa: ARG002 - the API is there, or all fails
        return True

    def rights(self, target: Target) -> Sequence[Right]:
        assert isinstance(target, ConfigMapKey)
        where = target.namespace
        return [Right(verb=verb, resource="configmaps", namespace=where) for verb in _VERBS]

    def read(self, target: Target) -> Held:
        assert isinstance(target, ConfigMapKey)
        return self._held(target, self._cluster.get("ConfigMap", target.name, target.namespace))

    def write(
        self,
        target: Target,
        content: bytes | None,
        seen: Held,
        frame: str = "",  # noqa: ARG002 - a key has none
    ) -> Held:
        assert isinstance(target, ConfigMapKey)
        found = self._cluster.get("ConfigMap", target.name, target.namespace)
        if self._held(target, found).content != seen.content:
            raise Moved(str(target))
        try:
            return self._held(target, self._put(target, content, found))
        except ApiRefusal as refusal:
            if refusal.status in {404, 409}:
                raise Moved(str(target)) from refusal
            raise

    def _put(
        self, target: ConfigMapKey, content: bytes | None, found: Object | None
    ) -> Object | None:
        if found is None:
            if content is None:
                return None
            data = {target.key: content.decode()}
            return self._cluster.create(config_map(target.namespace, target.name, data))
        data = dict(found.get("data") or {})
        data.pop(target.key, None)
        if content is not None:
            data[target.key] = content.decode()
        if not data and not found.get("binaryData") and is_ours(found):
            # made by us for this key alone
            version = found["metadata"]["resourceVersion"]
            self._cluster.delete("ConfigMap", target.name, target.namespace, version=version)
            return None
        return self._cluster.replace({**_typed(found, "ConfigMap"), "data": data})

    @staticmethod
    def _held(target: ConfigMapKey, found: Object | None) -> Held:
        if found is None:
            return Held(content=None, version="")
        value = (found.get("data") or {}).get(target.key)
        if value is None and target.key in (found.get("binaryData") or {}):
            raise RefusedError(
                f"{target} holds binary data", why="it is no UTF-8 text, which this edits"
            )
        content = None if value is None else str(value).encode()
        return Held(content=content, version=found["metadata"]["resourceVersion"])


class ObjectHand:
    """Specs of objects. Removing the content deletes the object; it is made again from the frame.

    A later write by somebody to another part of the object (its status, its labels) is no
    conflict: the write is tried again on what stands there, as long as the spec is what was seen.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def reaches(self, target: Target) -> bool:  # noqa: ARG002 - the API is there, or all fails
        return True

    def rights(self, target: Target) -> Sequence[Right]:
        assert isinstance(target, ObjectSpec)
        resource = right(moved(self._cluster, target.kind))
        verbs = ("get", "update") if KINDS[target.kind].namespaced else _VERBS
        return [Right(verb=v, resource=resource, namespace=target.namespace) for v in verbs]

    def read(self, target: Target) -> Held:
        assert isinstance(target, ObjectSpec)
        kind = moved(self._cluster, target.kind)
        return _held_spec(self._cluster.get(kind, target.name, target.namespace))

    def write(self, target: Target, content: bytes | None, seen: Held, frame: str = "") -> Held:
        assert isinstance(target, ObjectSpec)
        kind = moved(self._cluster, target.kind)
        found = self._cluster.get(kind, target.name, target.namespace)
        if _held_spec(found).content != seen.content:
            raise Moved(str(target))
        try:
            return _held_spec(self._put(replace(target, kind=kind), content, found, frame))
        except ApiRefusal as refusal:
            if refusal.status in {404, 409}:
                raise Moved(str(target)) from refusal
            raise

    def _put(
        self, target: ObjectSpec, content: bytes | None, found: Object | None, frame: str
    ) -> Object | None:
        if content is None:
            if found is not None:
                version = found["metadata"]["resourceVersion"]
                self._cluster.delete(target.kind, target.name, target.namespace, version=version)
            return None
        spec = parsed(content)
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
    return {"apiVersion": KINDS[kind].api_version, "kind": named(kind), **found}


def _goes(found: Object) -> bool:
    """Whether it is deleted, and only waits for those that are to clear up first."""
    return "deletionTimestamp" in found["metadata"]


def _held_spec(found: Object | None) -> Held:
    if found is None or _goes(found):
        return Held(content=None, version="")
    meta = found["metadata"]
    return Held(
        content=canonical(found.get("spec", {})),
        version=meta["resourceVersion"],
        frame=json.dumps({part: _own(meta.get(part)) for part in _MINE if meta.get(part)}),
    )


def _own(labels: dict[str, Any] | None) -> dict[str, Any]:
    """Without what controllers keep there."""
    return {k: v for k, v in (labels or {}).items() if not k.startswith(_NOT_MINE)}
