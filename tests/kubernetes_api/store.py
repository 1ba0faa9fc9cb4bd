"""The stored objects of the API, and their versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.kubernetes_api.copying import clone
from tests.kubernetes_api.resources import ResourceType

ObjectKey = tuple[str, str, str, str]  # group, plural, namespace, name


class ObjectStore:
    """Objects by group, plural, namespace and name. Gives copies, and takes copies."""

    def __init__(self) -> None:
        self._objects: dict[ObjectKey, Any] = {}
        self.version = 100  # of the last write

    @staticmethod
    def key(resource: ResourceType, namespace: str, name: str) -> ObjectKey:
        return resource.group, resource.plural, namespace if resource.namespaced else "", name

    def get(self, resource: ResourceType, namespace: str, name: str) -> Any | None:
        return clone(self._objects.get(self.key(resource, namespace, name)))

    def list(self, resource: ResourceType, namespace: str = "") -> list[Any]:
        """Return the objects of a namespace, or of all, in the order of their names."""
        return [
            clone(obj)
            for (group, plural, space, _), obj in sorted(self._objects.items())
            if (group, plural) == (resource.group, resource.plural) and namespace in ("", space)
        ]

    def put(self, resource: ResourceType, obj: Any) -> Any:
        """Store an object under its next version, and return it."""
        self.version += 1
        stored = clone(obj)
        metadata = stored["metadata"]
        metadata["resourceVersion"] = str(self.version)
        key = self.key(resource, metadata.get("namespace", ""), metadata["name"])
        self._objects[key] = stored
        return clone(stored)

    def remove(self, resource: ResourceType, namespace: str, name: str) -> None:
        self.version += 1
        self._objects.pop(self.key(resource, namespace, name), None)

    def values(self) -> Iterator[Any]:
        return iter(clone(list(self._objects.values())))
