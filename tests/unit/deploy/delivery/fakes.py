"""A cluster and a Docker engine that support what delivery methods use."""

from __future__ import annotations

from typing import IO, Any, cast

from deploy.cluster.client import ApiError, Cluster, Object
from images.engine import EngineClient
from images.shared_build import BuiltImage
from mirror.core.errors import EngineError
from mirror.core.progress import Progress
from mirror.core.wait import Deadline

IMAGE = BuiltImage(
    reference="pypi-mirror:1-abc", id="sha256:1", architecture="amd64", size=1, built=True
)


def make_node(
    name: str,
    *images: str,
    architecture: str = "amd64",
    ready: bool = True,
    address: str = "10.0.0.1",
) -> Object:
    return {
        "metadata": {"name": name},
        "status": {
            "nodeInfo": {"architecture": architecture},
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "addresses": [
                {"type": "Hostname", "address": name},
                {"type": "InternalIP", "address": address},
            ],
            "images": [{"names": [image]} for image in images],
        },
    }


def make_cluster(*nodes: Object, refuses: bool = False, **others: list[Object]) -> Cluster:
    class FakeDeliveryCluster:
        context = "field"
        deadline = Deadline.after(30)

        def list(self, kind: str, namespace: str | None = None, **_: Any) -> list[Object]:
            if refuses:
                raise ApiError(403, "Forbidden", "not yours", f"cannot list {kind}", "ask")
            return list(nodes) if kind == "Node" else others.get(kind, [])

        def is_allowed(self, verb: str, resource: str, namespace: str | None = None) -> bool:
            return "allowed" in others

    return cast("Cluster", FakeDeliveryCluster())


class FakeImageEngine:
    """Records tags, pushes and saves; pushes fail with ``push_error`` if it is given."""

    def __init__(self, push_error: str | None = None) -> None:
        self.tags: list[str] = []
        self.pushed: list[str] = []
        self.saved = 0
        self.push_error = push_error

    def tag(self, image: str, reference: str) -> None:
        self.tags.append(reference)

    def untag(self, reference: str) -> None:
        self.tags.remove(reference)

    def push(self, reference: str, progress: Progress) -> str:
        if self.push_error:
            raise EngineError(f"cannot push {reference}", why=self.push_error)
        self.pushed.append(reference)
        return "sha256:" + "d" * 64

    def save(self, reference: str, out: IO[bytes]) -> int:
        self.saved += 1
        return out.write(b"the image")

    def as_client(self) -> EngineClient:
        return cast("EngineClient", self)
