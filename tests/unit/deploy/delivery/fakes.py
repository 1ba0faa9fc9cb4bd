"""A cluster and a Docker engine that support what delivery methods use."""

from __future__ import annotations

from typing import IO, cast

from deploy.cluster.client import Object
from images.engine import EngineClient
from images.shared_build import BuiltImage
from mirror.core.errors import EngineError
from mirror.core.progress import Progress
from mirror.core.wait import Deadline
from tests.kubernetes_api import DirectCluster, MemoryApi, Rule

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
        "kind": "Node",
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


def make_cluster(
    *objects: Object, refuses: bool = False, may_forward: bool = False
) -> DirectCluster:
    """Return a cluster with these objects; ``refuses`` lets its user read nothing."""
    api = MemoryApi()
    api.seed(*objects)
    rules = [] if refuses else [Rule("get list", "*")]
    rules += [Rule("create", "pods/portforward")] if may_forward else []
    return DirectCluster(api, api.add_user("limited", rules), deadline=Deadline.after(30))


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
