"""A cluster in memory, for the commands of the mirror's life cycle."""

from __future__ import annotations

import copy
from typing import Any, cast

from deploy.cluster.client import ApiError, Cluster, Object
from mirror.core.wait import Deadline


class FakeLifecycleCluster:
    """Stores applied objects; ``forbidden`` are (verb, resource) that it refuses to grant."""

    context = "field"
    server = "https://10.0.0.1:6443"

    def __init__(self, *objects: Object, forbidden: tuple[tuple[str, str], ...] = ()) -> None:
        self.deadline = Deadline.after(1)
        self.objects: dict[tuple[str, str | None, str], Object] = {}
        self.forbidden = forbidden
        self.logs: dict[str, str] = {}
        self.writes: list[str] = []
        for obj in objects:
            self._store(obj)

    def as_client(self) -> Cluster:
        return cast("Cluster", self)

    def version(self) -> str:
        return "v1.34.0"

    def is_allowed(self, verb: str, resource: str, namespace: str | None = None) -> bool:
        return (verb, resource) not in self.forbidden

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        return copy.deepcopy(self.objects.get((kind, namespace, name)))

    def list(
        self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> list[Object]:
        required = dict(pair.split("=") for pair in labels.split(",") if "=" in pair)
        return [
            copy.deepcopy(obj)
            for (other_kind, other_namespace, _), obj in self.objects.items()
            if other_kind == kind
            and namespace in (None, other_namespace)
            and required.items() <= obj["metadata"].get("labels", {}).items()
        ]

    def apply(self, obj: Object, *, dry_run: bool = False) -> Object:
        applied = copy.deepcopy(obj)
        if obj["kind"] == "Service":
            applied["spec"].setdefault("clusterIP", "10.152.183.7")
        if not dry_run:
            self.writes.append(f"apply {obj['kind']}/{obj['metadata']['name']}")
            self._store(applied)
        return applied

    def create(self, obj: Object, *, dry_run: bool = False) -> Object:
        if dry_run:  # the impossible Service of the range check
            raise ApiError(422, "Invalid", "valid IPs: 10.152.183.0/24", "invalid", "")
        self.writes.append(f"create {obj['kind']}/{obj['metadata']['name']}")
        created = copy.deepcopy(obj)
        created["metadata"] |= {"uid": "uid-1", "resourceVersion": "1"}
        self._store(created)
        return created

    def replace(self, obj: Object, *, dry_run: bool = False) -> Object:
        return self.apply(obj, dry_run=dry_run)

    def patch(self, kind: str, name: str, namespace: str | None, body: Object) -> Object:
        """Merge annotations; nothing else is patched."""
        if (kind, namespace, name) not in self.objects:
            raise ApiError(404, "NotFound", "no such object", "not found", "")
        self.writes.append(f"patch {kind}/{name}")
        annotations = self.objects[kind, namespace, name]["metadata"].setdefault("annotations", {})
        annotations.update(body["metadata"]["annotations"])
        for key in [key for key, value in annotations.items() if value is None]:
            del annotations[key]
        return self.objects[kind, namespace, name]

    def delete(
        self,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        grace_seconds: int | None = None,
    ) -> bool:
        self.writes.append(f"delete {kind}/{name}")
        return self.objects.pop((kind, namespace, name), None) is not None

    def tail_log(self, namespace: str, pod: str, container: str, *, lines: int = 200) -> str:
        return self.logs.get(pod, "")

    def _store(self, obj: Object) -> None:
        metadata = obj["metadata"]
        self.objects[obj["kind"], metadata.get("namespace"), metadata["name"]] = obj


def make_object(kind: str, name: str, namespace: str | None = None, **content: Any) -> Object:
    metadata: Object = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"kind": kind, "metadata": metadata, **content}


def make_ready_node(name: str, *, ready: bool = True) -> Object:
    status = {
        "conditions": [{"type": "Ready", "status": str(ready)}],
        "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
        "nodeInfo": {"architecture": "amd64"},
    }
    return make_object("Node", name, status=status)


def make_storage_class(name: str = "fast", *, default: bool = True) -> Object:
    storage_class = make_object("StorageClass", name)
    storage_class["metadata"]["annotations"] = {
        "storageclass.kubernetes.io/is-default-class": str(default).lower()
    }
    return storage_class
