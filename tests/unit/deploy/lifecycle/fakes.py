"""A small cluster in memory, for the commands of the mirror's life cycle."""

from __future__ import annotations

from typing import Any

from deploy.cluster.client import Object
from tests.kubernetes_api import MemoryApi
from tests.kubernetes_api.controllers import (
    bind_claims,
    collect_garbage,
    end_pods,
    finish_namespaces,
    roll_out_workloads,
    run_stateful_set_pods,
)


def make_api(*objects: Object) -> MemoryApi:
    """Return an API with these objects, in which workloads start and deleted objects go."""
    api = MemoryApi()
    api.seed(*objects)
    api.after_write += [
        bind_claims,
        roll_out_workloads,
        run_stateful_set_pods,
        collect_garbage,
        end_pods,
        finish_namespaces,
    ]
    return api


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


def make_storage_class(
    name: str = "fast", *, default: bool = True, expandable: bool = True
) -> Object:
    storage_class = make_object("StorageClass", name, provisioner="test")
    storage_class["allowVolumeExpansion"] = expandable
    storage_class["metadata"]["annotations"] = {
        "storageclass.kubernetes.io/is-default-class": str(default).lower()
    }
    return storage_class
