"""A strict Kubernetes API in memory, for tests without a cluster.

    api = MemoryApi()                                # with Calico: MemoryApi(*CALICO_V1)
    api.seed({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {…}, "data": {…}})
    cluster = DirectCluster(api)                     # the product's client, without HTTP
    client = DirectInClusterClient(api)              # the reconciler's client, without HTTP
    with serve_api(api) as served:                   # over HTTP, for whole commands
        kubeconfig = served.write_kubeconfig(tmp_path / "config")

Rights: `user = api.add_user("limited", [Rule("get list", "configmaps")])`, then
`DirectCluster(api, user)` or `served.write_kubeconfig(path, user)`. Take single rights away with
`user.withheld.append(Rule("get", "secrets"))`. `api.add_service_account(namespace, name)` is a user
whose rights are those of the stored Roles and bindings.

What happened: `api.requests` (method, path, query, body, dry_run, user, status), and
`api.list_writes()`, which is empty if nothing was to be changed. `api.dump()` is the whole content.

What goes wrong: `api.failures.kill_at_write(3)` (or `"after"`), `kill(on("PUT", "*/leases/*"))`,
`refuse(on("PATCH"), 503)`, `run(on("PUT", "*/configmaps/coredns"), action)` for another writer in
between; `api.failures.revive()` ends it all. `api.edit(kind, name, namespace, change)` writes as
somebody else, `api.remove(…)` deletes.

Pods, rollouts and deletions do not happen by themselves: append functions of
`tests.kubernetes_api.controllers` to `api.after_write`. Logs are in `api.logs`. What answers
pods/exec is `api.programs[namespace, pod] = program`, a function of argv and standard input that
returns exit code, output and errors; one for pods/portforward is
`api.ports[namespace, pod, port] = ("127.0.0.1", its_port)` (over HTTP only).

tests/cluster/test_api_conformance.py compares it with a real API server.
"""

from __future__ import annotations

from tests.kubernetes_api.access import ALL_RIGHTS, Rule, User
from tests.kubernetes_api.client import DirectCluster, DirectInClusterClient
from tests.kubernetes_api.errors import KilledError
from tests.kubernetes_api.failures import on
from tests.kubernetes_api.memory import MemoryApi
from tests.kubernetes_api.resources import CALICO_V1, CALICO_V3, TIGERA
from tests.kubernetes_api.server import ServedApi, serve_api

__all__ = [
    "ALL_RIGHTS",
    "CALICO_V1",
    "CALICO_V3",
    "TIGERA",
    "DirectCluster",
    "DirectInClusterClient",
    "KilledError",
    "MemoryApi",
    "Rule",
    "ServedApi",
    "User",
    "on",
    "serve_api",
]
