"""A cluster in memory in which a mirror runs, whose index answers, for whole commands."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from deploy.fix_registry import build_engine
from deploy.lifecycle import connect
from deploy.lifecycle.publish import publish_environment
from mirror.client import UploadResult
from mirror.core.errors import RefusedError
from mirror.explanation import Explanation
from mirror.lock_urls import IndexAddresses
from tests.kubernetes_api import MemoryApi
from tests.kubernetes_api.controllers import collect_garbage, end_pods, run_stateful_set_pods
from tests.kubernetes_api.store import ObjectStore
from tests.unit.cli.memory_lab import apply_dns_fix
from tests.unit.cli.whole_cluster import WholeClusterLab, run_whole_cluster
from tests.wheels import make_wheel

CONTROLLERS = (run_stateful_set_pods, collect_garbage, end_pods)
LOCK = 'version = 1\nrequires-python = ">=3.12"\n'


class AnsweringIndex:
    """The mirror's index, in which a wheel of project `taken` has other bytes."""

    def login(self, user: str, password: str) -> None:
        assert user == "root" and password

    def ensure_indexes(self, upstream: str | None) -> None:
        assert upstream is None

    def explain(self, name: str) -> Explanation:
        return Explanation(
            project=name,
            private=True,
            upstream="",
            pin="",
            passed=(),
            not_asked=(),
            hidden_by="",
            rules=(),
            files=(),
        )

    def get_server_version(self) -> str:
        return "6.0.0"

    def read_stats(self, *_: object) -> None:
        return None

    def reserve_name(self, name: str) -> bool:
        return name != "taken"

    def list_private_projects(self) -> tuple[()]:
        return ()

    def list_cached_projects(self) -> tuple[()]:
        return ()

    def upload(self, path: Path) -> UploadResult:
        if path.name.startswith("taken"):
            raise RefusedError(f"{path.name} is there with other bytes", why="w", next_step="n")
        return UploadResult(filename=path.name, sha256="0" * 64, outcome="added")


COREDNS_POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "coredns-1",
        "namespace": "kube-system",
        "labels": {"k8s-app": "kube-dns"},
    },
    "spec": {"nodeName": "ra", "containers": [{"name": "coredns", "image": "dns:1"}]},
    "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
}


def end_verify_pods(*flaws: dict[str, Any]) -> Callable[[MemoryApi], None]:
    """Return a controller that ends the pods of `mirror verify` with a report."""
    report = {"files": 1, "size": 1, "unknown": 0, "flaws": list(flaws), "seconds": 0.1}

    def end(api: MemoryApi) -> None:
        for pod in api.list_objects("Pod"):
            name = pod["metadata"]["name"]
            is_over = pod.get("status", {}).get("phase") == "Succeeded"
            if name.startswith("pypi-mirror-verify-") and not is_over:
                ended = {"name": "probe", "state": {"terminated": {"exitCode": 0}}}
                pod["status"] = {"phase": "Succeeded", "containerStatuses": [ended]}
                api.store.put(api.find_resource(pod), pod)
                api.logs["pypi-mirror", name, "probe"] = json.dumps({"report": report})

    return end


def prepare_store(folder: Path) -> ObjectStore:
    """Return what a mirror that runs, with an attached workload and a fix, has in the cluster."""
    with pytest.MonkeyPatch.context() as patch, run_whole_cluster(folder, patch) as lab:
        lab.api.after_write += CONTROLLERS
        lab.install()
        lab.api.seed(COREDNS_POD)
        publish_environment(lab.cluster, "pypi-mirror", ["shop"])
        lab.list_writes_of("attach", "deployment/attached", "-n", "shop", "--yes")
        apply_dns_fix(build_engine(lab.cluster))
        return lab.api.store


@contextmanager
def run_mirror(
    store: ObjectStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[WholeClusterLab]:
    """Serve a copy of that cluster, and an index that answers; there are files to upload."""

    @contextmanager
    def open_client(*_: object, **__: object) -> Iterator[AnsweringIndex]:
        yield AnsweringIndex()

    addresses = IndexAddresses("https://index.example/simple/", "https://files.example/")
    with run_whole_cluster(folder, monkeypatch) as lab:
        lab.api.store = deepcopy(store)
        lab.api.after_write += [*CONTROLLERS, end_verify_pods()]
        lab.api.logs["pypi-mirror", "pypi-mirror-0", "devpi"] = "started\n"
        for command in ("add", "reserve", "list"):
            monkeypatch.setattr(f"cli.commands.{command}.open_index", open_client)
        monkeypatch.setattr("cli.commands.explain.open_reader", open_client)
        monkeypatch.setattr(connect, "open_client", open_client)
        monkeypatch.setattr("cli.commands.lock.read_addresses", lambda *_: (addresses, addresses))
        monkeypatch.chdir(folder)
        for name in ("acme", "taken"):
            make_wheel(folder, name, "1.0", "")
        Path("uv.lock").write_text(LOCK)
        yield lab
