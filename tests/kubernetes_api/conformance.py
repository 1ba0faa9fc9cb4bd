"""Calls whose results are the same on a real API server and on the one in memory.

Every scenario has a namespace of its own, and makes a list of results: the status of a response,
with its reason if it is an error, or a part of its body. expected_results.json has what they are:
tests/unit/kubernetes_api compares the API in memory with it, tests/cluster/test_api_conformance.py
a real API server.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.kubernetes_api.requests import APPLY_PATCH, JSON_PATCH, MERGE_PATCH

LIMITED = "limited"  # a user whose rights are `LIMITED_RULES`, in all namespaces
LIMITED_RULES = (("get list", "configmaps"), ("create", "pods"), ("get", "pods/log"))

Body = Any
# user, method, path, query, body, content type → status, body
Send = Callable[[str, str, str, Mapping[str, str], Body, str], tuple[int, Body]]


@dataclass(slots=True)
class ScenarioCalls:
    """Sends the calls of a scenario and collects its results."""

    send: Send
    namespace: str
    results: list[Any] = field(default_factory=list)

    def call(
        self,
        method: str,
        path: str,
        body: Body = None,
        *,
        user: str = "admin",
        content_type: str = "application/json",
        **query: str,
    ) -> Body:
        """Send a request and record its status; "{}" in the path is the namespace."""
        path = path.replace("{}", self.namespace)
        status, response = self.send(user, method, path, query, body, content_type)
        reason = response.get("reason") if isinstance(response, dict) else ""
        self.results.append(f"{status} {reason}" if status >= 400 else status)
        return response

    def record(self, *values: Any) -> None:
        """Record parts of responses."""
        self.results += json.loads(json.dumps(values))

    def object(self, api_version: str, kind: str, name: str, **content: Any) -> Body:
        metadata: Any = {"name": name, "namespace": self.namespace} | content.pop("metadata", {})
        return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}

    def config_map(self, name: str = "a", **content: Any) -> Body:
        return self.object("v1", "ConfigMap", name, **({"data": {"x": "1"}} | content))

    def apply(self, path: str, body: Body, manager: str, **query: str) -> Body:
        query = {"fieldManager": manager} | query
        return self.call("PATCH", path, body, content_type=APPLY_PATCH, **query)


Scenario = Callable[[ScenarioCalls], None]
SCENARIOS: list[Scenario] = []
EXPECTED_RESULTS: Mapping[str, list[Any]] = json.loads(
    Path(__file__).with_name("expected_results.json").read_text()
)


def scenario(run: Scenario) -> Scenario:
    SCENARIOS.append(run)
    return run


def run_scenario(run: Scenario, send: Send, namespace: str) -> list[Any]:
    """Return the results of a scenario in an existing namespace with a ServiceAccount `default`."""
    calls = ScenarioCalls(send, namespace)
    run(calls)
    return calls.results


MAPS = "/api/v1/namespaces/{}/configmaps"
MAP = f"{MAPS}/a"
PODS = "/api/v1/namespaces/{}/pods"
SERVICES = "/api/v1/namespaces/{}/services"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/{}/leases"
DEPLOYMENTS = "/apis/apps/v1/namespaces/{}/deployments"
STATEFUL_SETS = "/apis/apps/v1/namespaces/{}/statefulsets"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def _version(obj: Body) -> str:
    return str(obj["metadata"]["resourceVersion"])


def _template(**spec: Any) -> Body:
    pod = {"containers": [{"name": "c", "image": "image:1"}]} | spec
    return {"metadata": {"labels": {"app": "a"}}, "spec": pod}


_SELECTOR = {"matchLabels": {"app": "a"}}


def _deployment(calls: ScenarioCalls, **spec: Any) -> Body:
    spec = {"selector": _SELECTOR, "template": _template()} | spec
    return calls.object("apps/v1", "Deployment", "a", spec=spec)


def _pod(calls: ScenarioCalls, name: str = "p", **spec: Any) -> Body:
    spec = {
        "containers": [{"name": "c", "image": "image:1"}],
        "serviceAccountName": "default",
        "automountServiceAccountToken": False,
    } | spec
    return calls.object("v1", "Pod", name, spec=spec)


# -- create, read, list ---------------------------------------------------------------------------


@scenario
def creates_once(calls: ScenarioCalls) -> None:
    calls.call("GET", MAP)
    created = calls.call("POST", MAPS, calls.config_map())
    calls.record(sorted(created["metadata"]), created["data"])
    error = calls.call("POST", MAPS, calls.config_map(data={"x": "2"}))
    calls.record(error["message"], error["details"])
    calls.record(calls.call("GET", MAP)["data"])
    calls.record(calls.call("GET", f"{MAPS}/b")["message"])


@scenario
def list_items_have_no_type(calls: ScenarioCalls) -> None:
    calls.call("POST", MAPS, calls.config_map())
    response = calls.call("GET", MAPS)
    item = next(item for item in response["items"] if item["metadata"]["name"] == "a")
    calls.record(response["kind"], response["apiVersion"], sorted(item))


@scenario
def takes_the_type_from_the_path(calls: ScenarioCalls) -> None:
    body = {"metadata": {"name": "a"}, "data": {"x": "1"}}
    created = calls.call("POST", MAPS, body)
    calls.record(created.get("kind"), created["metadata"].get("namespace") == calls.namespace)
    calls.call("POST", MAPS, calls.config_map("b") | {"kind": "Secret"})
    calls.call("POST", MAPS, calls.config_map("b", metadata={"namespace": "default"}))
    calls.call("POST", MAPS, calls.config_map("b", metadata={"resourceVersion": "1"}))
    calls.call("POST", MAPS, calls.config_map(""))
    named = calls.call("POST", MAPS, calls.config_map("", metadata={"generateName": "g-"}))
    calls.record(named["metadata"].get("name", "")[:2], len(named["metadata"].get("name", "")))


@scenario
def validates_names_and_content(calls: ScenarioCalls) -> None:
    calls.call("POST", MAPS, calls.config_map("A_b"))
    calls.call("POST", MAPS, calls.config_map("b", data={"x": "1"}, binaryData={"x": "MQ=="}))
    calls.call("POST", MAPS, calls.config_map("big", data={"x": "1" * (1 << 20)}))
    calls.call("POST", MAPS, calls.config_map("bigger", data={"x": "1" * ((1 << 20) + 1)}))
    no_selector = _deployment(calls)
    del no_selector["spec"]["selector"]
    calls.call("POST", DEPLOYMENTS, no_selector)
    calls.call("POST", DEPLOYMENTS, _deployment(calls, selector={"matchLabels": {"app": "b"}}))
    calls.call("POST", DEPLOYMENTS, _deployment(calls, template=_template(containers=[])))
    role = "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles"
    body = calls.object("rbac.authorization.k8s.io/v1", "Role", "system:a_B", rules=[])
    calls.call("POST", role, body)


@scenario
def selects_by_labels(calls: ScenarioCalls) -> None:
    for name, labels in (("a", {"app": "x", "tier": "1"}), ("b", {"app": "y"}), ("c", {})):
        calls.call("POST", MAPS, calls.config_map(name, metadata={"labels": labels}))
    for selector in (
        *("app=x", "app==x,tier=1", "app!=x", "app in (x, y)", "app notin (x)", "tier", "!tier"),
        *("app=", "app=x,tier=2", ""),
    ):
        items = calls.call("GET", MAPS, labelSelector=selector)["items"]
        calls.record(
            "".join(
                item["metadata"]["name"]
                for item in items
                if item["metadata"]["name"] in {"a", "b", "c"}
            )
        )
    for selector in ("(", "app in x", "a=b=c", "app=x y"):
        calls.call("GET", MAPS, labelSelector=selector)


@scenario
def selects_by_fields(calls: ScenarioCalls) -> None:
    for name in ("a", "b"):
        calls.call("POST", MAPS, calls.config_map(name))
    for selector in ("metadata.name=a", "metadata.name!=a", "data.x=1", "nonsense"):
        response = calls.call("GET", MAPS, fieldSelector=selector)
        names = [item["metadata"]["name"] for item in response.get("items") or ()]
        calls.record("".join(name for name in names if name in {"a", "b"}))
    event = calls.object("v1", "Event", "e", type="Warning", reason="R")
    event["involvedObject"] = {"kind": "Pod", "name": "p", "namespace": calls.namespace}
    events = "/api/v1/namespaces/{}/events"
    calls.call("POST", events, event)
    for selector in (
        "type=Warning",
        "reason=Other",
        "involvedObject.name=p,involvedObject.kind=Pod",
    ):
        calls.record(len(calls.call("GET", events, fieldSelector=selector)["items"]))
    calls.record(len(calls.call("GET", PODS, fieldSelector="spec.nodeName=n")["items"]))


# -- replace --------------------------------------------------------------------------------------


@scenario
def replaces_the_version_that_was_read(calls: ScenarioCalls) -> None:
    first = calls.call("POST", MAPS, calls.config_map())
    second = calls.call("PUT", MAP, {**first, "data": {"x": "2"}})
    calls.record(
        _version(first) == _version(second), second["metadata"]["uid"] == first["metadata"]["uid"]
    )
    error = calls.call("PUT", MAP, {**first, "data": {"x": "3"}})
    calls.record(error["message"], error["details"])
    calls.call("PUT", MAP, calls.config_map(data={"x": "4"}))  # without a version
    calls.call("PUT", MAP, calls.config_map(metadata={"uid": "other"}))
    calls.call("PUT", MAP, calls.config_map("b"))
    calls.call("PUT", f"{MAPS}/b", calls.config_map("b"))
    calls.call("PUT", f"{MAPS}/b", calls.config_map("b", metadata={"resourceVersion": "1"}))
    calls.record(calls.call("GET", MAP)["data"])


@scenario
def an_unchanged_object_keeps_its_version(calls: ScenarioCalls) -> None:
    first = calls.call("POST", MAPS, calls.config_map())
    same = calls.call("PUT", MAP, first)
    patched = calls.call("PATCH", MAP, {"data": {"x": "1"}}, content_type=MERGE_PATCH)
    calls.record(_version(first) == _version(same) == _version(patched))


@scenario
def a_lease_needs_a_version(calls: ScenarioCalls) -> None:
    lease = calls.object("coordination.k8s.io/v1", "Lease", "l", spec={"holderIdentity": "a"})
    created = calls.call("POST", LEASES, lease)
    calls.call("PUT", f"{LEASES}/l", lease)
    calls.call("PUT", f"{LEASES}/l", {**created, "spec": {"holderIdentity": "b"}})
    calls.call("PUT", f"{LEASES}/l", {**created, "spec": {"holderIdentity": "c"}})
    calls.call("DELETE", f"{LEASES}/l")
    calls.call("PUT", f"{LEASES}/l", created)
    calls.call("PUT", f"{LEASES}/l", lease)
    calls.call("DELETE", f"{LEASES}/l")


# -- delete ---------------------------------------------------------------------------------------


@scenario
def deletes_under_preconditions(calls: ScenarioCalls) -> None:
    created = calls.call("POST", MAPS, calls.config_map())
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
    for wanted in ({"resourceVersion": "1"}, {"uid": "other"}):
        calls.call("DELETE", MAP, {**options, "preconditions": wanted})
    wanted = {"resourceVersion": _version(created), "uid": created["metadata"]["uid"]}
    response = calls.call("DELETE", MAP, {**options, "preconditions": wanted})
    calls.record(response.get("kind"), response.get("status"), sorted(response["details"]))
    calls.call("DELETE", MAP, options)
    calls.call("GET", MAP)


@scenario
def a_finalizer_keeps_a_deleted_object(calls: ScenarioCalls) -> None:
    calls.call("POST", MAPS, calls.config_map(metadata={"finalizers": ["example.com/keep"]}))
    deleted = calls.call("DELETE", MAP)
    calls.record(deleted.get("kind"), "deletionTimestamp" in deleted["metadata"])
    calls.record("deletionTimestamp" in calls.call("GET", MAP)["metadata"])
    calls.call(
        "PUT", MAP, calls.config_map(data={"x": "2"}, metadata={"finalizers": ["example.com/keep"]})
    )
    more = {"metadata": {"finalizers": ["example.com/keep", "example.com/more"]}}
    calls.call("PATCH", MAP, more, content_type=MERGE_PATCH)
    calls.call("PATCH", MAP, {"metadata": {"finalizers": None}}, content_type=MERGE_PATCH)
    calls.call("GET", MAP)


@scenario
def deletes_dependents_by_policy(calls: ScenarioCalls) -> None:
    for policy in ("Foreground", "Background"):
        calls.call("POST", MAPS, calls.config_map())
        calls.call("DELETE", MAP, {"propagationPolicy": policy})
        metadata = calls.call("GET", MAP).get("metadata", {})
        calls.record(metadata.get("finalizers"))
        if metadata.get("finalizers"):
            calls.call("PATCH", MAP, {"metadata": {"finalizers": []}}, content_type=MERGE_PATCH)


@scenario
def a_pod_ends_in_its_own_time(calls: ScenarioCalls) -> None:
    calls.call("POST", PODS, _pod(calls, "free"))
    calls.call("DELETE", f"{PODS}/free")
    calls.call("GET", f"{PODS}/free")
    calls.call("POST", PODS, _pod(calls, "bound", nodeName="n"))
    calls.call("DELETE", f"{PODS}/bound")
    metadata = calls.call("GET", f"{PODS}/bound")["metadata"]
    calls.record("deletionTimestamp" in metadata, metadata["deletionGracePeriodSeconds"])
    calls.call("DELETE", f"{PODS}/bound", {"gracePeriodSeconds": 0})
    calls.call("GET", f"{PODS}/bound")
    status = {"phase": "Succeeded"}
    ended = calls.call("POST", PODS, _pod(calls, "ended", nodeName="n"))
    calls.call("PUT", f"{PODS}/ended/status", {**ended, "status": status})
    calls.call("DELETE", f"{PODS}/ended")
    calls.call("GET", f"{PODS}/ended")


@scenario
def namespaces_end_slowly(calls: ScenarioCalls) -> None:
    calls.call("POST", "/api/v1/namespaces/missing/configmaps", {"metadata": {"name": "a"}})
    name = f"{calls.namespace}-2"
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    created = calls.call("POST", "/api/v1/namespaces", namespace)
    calls.record(
        created["status"],
        created["spec"],
        created["metadata"]["labels"] == {"kubernetes.io/metadata.name": name},
    )
    deleted = calls.call("DELETE", f"/api/v1/namespaces/{name}")
    calls.record(deleted.get("kind"), deleted["status"]["phase"])
    error = calls.call("POST", f"/api/v1/namespaces/{name}/configmaps", {"metadata": {"name": "a"}})
    calls.record(error["message"].replace(name, "NAME"))
    calls.record(calls.call("GET", f"/api/v1/namespaces/{name}")["status"]["phase"])


# -- dry run --------------------------------------------------------------------------------------


@scenario
def a_dry_run_changes_nothing(calls: ScenarioCalls) -> None:
    dry = {"dryRun": "All"}
    tried = calls.call("POST", MAPS, calls.config_map(), **dry)
    calls.record(tried["data"], tried["metadata"].get("resourceVersion"))
    calls.call("GET", MAP)
    created = calls.call("POST", MAPS, calls.config_map())
    calls.call("POST", MAPS, calls.config_map(), **dry)
    calls.record(calls.call("PUT", MAP, {**created, "data": {"x": "2"}}, **dry)["data"])
    calls.call("PUT", MAP, calls.config_map(metadata={"resourceVersion": "1"}), **dry)
    calls.record(calls.apply(MAP, calls.config_map(data={"y": "1"}), "m", **dry)["data"])
    calls.call("PATCH", MAP, {"data": None}, content_type=MERGE_PATCH, **dry)
    calls.call("DELETE", MAP, None, **dry)
    calls.call("DELETE", MAP, {"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"]})
    stored = calls.call("GET", MAP)
    calls.record(stored == created)


# -- patches --------------------------------------------------------------------------------------


@scenario
def merges_patches(calls: ScenarioCalls) -> None:
    calls.call("PATCH", MAP, {"data": {"x": "1"}}, content_type=MERGE_PATCH)
    created = calls.call("POST", MAPS, calls.config_map(data={"x": "1", "y": "2"}))
    patch = {"data": {"x": None, "z": "3"}, "metadata": {"labels": {"a": "b"}}}
    patched = calls.call("PATCH", MAP, patch, content_type=MERGE_PATCH)
    calls.record(patched["data"], patched["metadata"]["labels"])
    stale = {"metadata": {"resourceVersion": _version(created)}, "data": {"q": "1"}}
    calls.call("PATCH", MAP, stale, content_type=MERGE_PATCH)
    calls.call("PATCH", MAP, {"metadata": {"name": "b"}}, content_type=MERGE_PATCH)


@scenario
def applies_json_patches(calls: ScenarioCalls) -> None:
    created = calls.call("POST", MAPS, calls.config_map(data={"x": "1", "a.b": "2"}))

    def patch(*operations: Any) -> Any:
        return calls.call("PATCH", MAP, list(operations), content_type=JSON_PATCH)

    def operation(op: str, path: str, value: Any = None) -> Any:
        return {"op": op, "path": path} | ({"value": value} if op != "remove" else {})

    stale = operation("test", "/metadata/resourceVersion", "1")
    fresh = operation("test", "/metadata/resourceVersion", _version(created))
    patch(stale, operation("replace", "/data/x", "2"))
    patched = patch(fresh, operation("replace", "/data/x", "2"))
    calls.record(patched["data"])
    patch(fresh, operation("replace", "/data/x", "3"))
    patch(operation("replace", "/data/none", "3"))
    patch(operation("remove", "/data/none"))
    patch(operation("add", "/none/x", "3"))
    calls.record(patch(operation("add", "/data/q", "3"), operation("remove", "/data/x"))["data"])
    patch(operation("add", "/metadata/annotations", {"a/b": "1"}))
    calls.record(
        patch(operation("replace", "/metadata/annotations/a~1b", "2"))["metadata"]["annotations"]
    )
    calls.call("PATCH", f"{MAPS}/b", [operation("add", "/data/q", "3")], content_type=JSON_PATCH)
    calls.record(calls.call("GET", MAP)["data"])


@scenario
def applies_with_field_managers(calls: ScenarioCalls) -> None:
    created = calls.apply(MAP, calls.config_map(data={"x": "1", "y": "1"}), "one")
    calls.record(created["data"])
    error = calls.apply(MAP, calls.config_map(data={"x": "2"}), "two")
    calls.record(error["message"], error["details"])
    calls.record(calls.apply(MAP, calls.config_map(data={"x": "1", "z": "1"}), "two")["data"])
    calls.record(calls.apply(MAP, calls.config_map(data={"y": "1"}), "one")["data"])  # x is shared
    calls.record(calls.apply(MAP, calls.config_map(data={"y": "1"}), "two")["data"])
    calls.record(calls.apply(MAP, calls.config_map(data={"y": "2"}), "two", force="true")["data"])
    calls.apply(MAP, calls.config_map(data={"y": "3"}), "one")
    before = calls.call("GET", MAP)
    again = calls.apply(MAP, calls.config_map(data={"y": "2"}), "two")
    calls.record(_version(before) == _version(again))
    calls.record(
        sorted(
            (entry["manager"], entry["operation"]) for entry in again["metadata"]["managedFields"]
        )
    )
    stale = calls.config_map(data={"y": "4"}, metadata={"resourceVersion": "1"})
    calls.apply(MAP, stale, "two", force="true")
    calls.call("PATCH", MAP, calls.config_map(), content_type=APPLY_PATCH)


@scenario
def an_update_owns_what_it_changed(calls: ScenarioCalls) -> None:
    calls.apply(MAP, calls.config_map(data={"x": "1", "y": "1"}), "one")
    patch = {"data": {"x": "2", "z": "2"}}
    calls.call("PATCH", MAP, patch, content_type=MERGE_PATCH, fieldManager="editor")
    stored = calls.call("GET", MAP)
    calls.record(
        {
            entry["manager"]: [entry["operation"], entry["fieldsV1"]]
            for entry in stored["metadata"]["managedFields"]
        }
    )
    calls.apply(MAP, calls.config_map(data={"x": "1", "y": "1"}), "one")
    forced = calls.apply(MAP, calls.config_map(data={"x": "1"}), "one", force="true")
    calls.record(forced["data"])


@scenario
def merges_lists_by_their_keys(calls: ScenarioCalls) -> None:
    path = f"{DEPLOYMENTS}/a"
    containers = [
        {"name": "c", "image": "image:1", "env": [{"name": "A", "value": "1"}], "args": ["1", "2"]}
    ]
    calls.apply(path, _deployment(calls, template=_template(containers=containers)), "one")
    mine = [{"name": "d", "image": "image:2"}, {"name": "c", "env": [{"name": "B", "value": "2"}]}]
    body = _deployment(calls, template=_template(containers=mine))
    both = calls.apply(path, body, "two")["spec"]["template"]["spec"]["containers"]
    calls.record(
        [(each["name"], each.get("image"), each.get("env"), each.get("args")) for each in both]
    )
    changed = [{**containers[0], "args": ["3"], "env": []}]
    body = _deployment(calls, template=_template(containers=changed))
    both = calls.apply(path, body, "one")["spec"]["template"]["spec"]["containers"]
    calls.record(
        [(each["name"], each.get("image"), each.get("env"), each.get("args")) for each in both]
    )
    body = _deployment(calls, template=_template(containers=[{"name": "c"}]))
    both = calls.apply(path, body, "two")["spec"]["template"]["spec"]["containers"]
    calls.record(
        [(each["name"], each.get("image"), each.get("env"), each.get("args")) for each in both]
    )


# -- generation and status ------------------------------------------------------------------------


@scenario
def counts_changes_of_the_spec(calls: ScenarioCalls) -> None:
    path = f"{DEPLOYMENTS}/a"
    body = _deployment(calls) | {"status": {"replicas": 3}}
    created = calls.call("POST", DEPLOYMENTS, body)
    calls.record(created["metadata"]["generation"], created["status"])

    def patch(patch: Any) -> int:
        response = calls.call("PATCH", path, patch, content_type=MERGE_PATCH)
        return int(response["metadata"]["generation"])

    calls.record(patch({"spec": {"replicas": 2}}))
    calls.record(patch({"metadata": {"labels": {"a": "b"}}}))
    calls.record(patch({"status": {"replicas": 2}}))
    calls.record(calls.call("GET", path)["status"])
    current = calls.call("GET", path)
    status = {
        **current,
        "status": {"replicas": 2, "observedGeneration": 2},
        "spec": {**current["spec"], "replicas": 9},
    }
    stored = calls.call("PUT", f"{path}/status", status)
    calls.record(stored["spec"]["replicas"], stored["status"], stored["metadata"]["generation"])
    small = {key: value for key, value in stored.items() if key != "status"}
    stored = calls.call("PUT", path, small)
    calls.record(stored["status"], stored["metadata"]["generation"])
    bare = _deployment(calls, replicas=2)
    calls.record(calls.call("PUT", path, bare)["metadata"]["generation"])
    calls.call("GET", f"{MAP}/status")


# -- immutable fields -----------------------------------------------------------------------------


@scenario
def a_stateful_set_changes_few_fields(calls: ScenarioCalls) -> None:
    path = f"{STATEFUL_SETS}/a"
    spec = {"selector": _SELECTOR, "template": _template(), "serviceName": "s"}
    calls.call("POST", STATEFUL_SETS, calls.object("apps/v1", "StatefulSet", "a", spec=spec))
    for changes in (
        {"replicas": 0},
        {"template": _template(containers=[{"name": "c", "image": "image:2"}])},
        {"serviceName": "t"},
        {"podManagementPolicy": "Parallel"},
        {"selector": {"matchLabels": {"app": "a", "b": "c"}}},
    ):
        response = calls.call("PATCH", path, {"spec": changes}, content_type=MERGE_PATCH)
        calls.record(response["metadata"].get("generation"))


@scenario
def other_immutable_fields(calls: ScenarioCalls) -> None:
    def patch(path: str, patch: Any) -> None:
        calls.call("PATCH", path, patch, content_type=MERGE_PATCH)

    calls.call("POST", MAPS, calls.config_map(immutable=True))
    patch(MAP, {"data": {"x": "2"}})
    patch(MAP, {"immutable": None})
    patch(MAP, {"metadata": {"labels": {"a": "b"}}})
    secrets = "/api/v1/namespaces/{}/secrets"
    calls.call("POST", secrets, calls.object("v1", "Secret", "s", data={"x": "MQ=="}))
    patch(f"{secrets}/s", {"type": "other"})
    calls.call("POST", DEPLOYMENTS, _deployment(calls))
    selector = {"matchLabels": {"app": "a", "b": "c"}}
    labels = {"metadata": {"labels": {"app": "a", "b": "c"}}}
    patch(f"{DEPLOYMENTS}/a", {"spec": {"selector": selector, "template": labels}})
    jobs = "/apis/batch/v1/namespaces/{}/jobs"
    template = _template(restartPolicy="Never")
    calls.call("POST", jobs, calls.object("batch/v1", "Job", "j", spec={"template": template}))
    patch(f"{jobs}/j", {"spec": {"template": {"spec": {"restartPolicy": "OnFailure"}}}})
    calls.call("POST", PODS, _pod(calls))
    patch(f"{PODS}/p", {"spec": {"restartPolicy": "Never"}})
    patch(f"{PODS}/p", {"metadata": {"annotations": {"a": "b"}}})
    claims = "/api/v1/namespaces/{}/persistentvolumeclaims"
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    calls.call("POST", claims, calls.object("v1", "PersistentVolumeClaim", "c", spec=spec))
    patch(f"{claims}/c", {"spec": {"accessModes": ["ReadWriteMany"]}})
    group = "rbac.authorization.k8s.io"
    bindings = f"/apis/{group}/v1/namespaces/{{}}/rolebindings"
    reference = {"apiGroup": group, "kind": "Role", "name": "r"}
    binding = calls.object(f"{group}/v1", "RoleBinding", "b", roleRef=reference, subjects=[])
    calls.call("POST", bindings, binding)
    patch(f"{bindings}/b", {"roleRef": {"name": "q"}})


CLAIMS = "/api/v1/namespaces/{}/persistentvolumeclaims"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
_STORAGE_CLASS = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "x"}
_CLAIM_SPEC = {
    "accessModes": ["ReadWriteOnce"],
    "resources": {"requests": {"storage": "1Gi"}},
}


@scenario
def a_claim_grows_if_its_class_allows_it(calls: ScenarioCalls) -> None:
    for name, expandable in (("small", False), ("large", True)):
        class_name = f"{calls.namespace}-{name}"
        storage = {**_STORAGE_CLASS, "metadata": {"name": class_name}}
        calls.call("POST", CLASSES, storage | {"allowVolumeExpansion": expandable})
        spec = {**_CLAIM_SPEC, "storageClassName": class_name}
        body = calls.object("v1", "PersistentVolumeClaim", name, spec=spec)
        created = calls.call("POST", CLAIMS, body)
        calls.record(created["status"]["phase"])
        path = f"{CLAIMS}/{name}"

        def resize(size: str, path: str = path) -> None:
            patch = {"spec": {"resources": {"requests": {"storage": size}}}}
            calls.call("PATCH", path, patch, content_type=MERGE_PATCH)

        resize("2Gi")  # it is not bound yet
        calls.call("PUT", path, created | {"spec": {**created["spec"], "volumeName": "v"}})
        bound = calls.call("GET", path)
        bound["status"] = {"phase": "Bound", "capacity": {"storage": "1Gi"}}
        calls.call("PUT", f"{path}/status", bound)
        for size in ("1Gi", "2Gi", "512Mi"):
            resize(size)
        change = {"spec": {"storageClassName": "other"}}
        calls.call("PATCH", path, change, content_type=MERGE_PATCH)


@scenario
def a_claim_gets_the_default_class(calls: ScenarioCalls) -> None:
    body = calls.object("v1", "PersistentVolumeClaim", "a", spec=_CLAIM_SPEC)
    calls.record(calls.call("POST", CLAIMS, body)["spec"].get("storageClassName"))
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"}
    metadata = {"name": "the-default", "annotations": annotations}
    calls.call("POST", CLASSES, {**_STORAGE_CLASS, "metadata": metadata})
    body["metadata"]["name"] = "b"
    calls.record(calls.call("POST", CLAIMS, body)["spec"].get("storageClassName"))
    named = {**_CLAIM_SPEC, "storageClassName": "other"}
    body = calls.object("v1", "PersistentVolumeClaim", "c", spec=named)
    calls.record(calls.apply(f"{CLAIMS}/c", body, "m")["spec"].get("storageClassName"))
    body = calls.object("v1", "PersistentVolumeClaim", "d", spec=_CLAIM_SPEC)
    for _ in range(2):
        claim = calls.apply(f"{CLAIMS}/d", body, "m")
        calls.record(claim["spec"].get("storageClassName"))
    calls.call("DELETE", f"{CLASSES}/the-default")


@scenario
def allocates_cluster_addresses(calls: ScenarioCalls) -> None:
    spec = {"ports": [{"port": 80}], "selector": {"app": "a"}}
    created = calls.call("POST", SERVICES, calls.object("v1", "Service", "s", spec=spec))["spec"]
    calls.record(
        created["clusterIP"].startswith("10.152.183."),
        created["clusterIPs"] == [created["clusterIP"]],
    )
    calls.record({key: value for key, value in created.items() if not key.startswith("clusterIP")})
    path = f"{SERVICES}/s"
    calls.call("PATCH", path, {"spec": {"clusterIP": "10.152.183.200"}}, content_type=MERGE_PATCH)
    kept = calls.call("PUT", path, calls.object("v1", "Service", "s", spec=spec))
    calls.record(kept.get("spec", {}).get("clusterIP") == created["clusterIP"])
    kept = calls.apply(path, calls.object("v1", "Service", "s", spec=spec), "m", force="true")
    calls.record(kept.get("spec", {}).get("clusterIP") == created["clusterIP"])
    for ip in ("10.0.0.1", "nonsense"):
        body = calls.object("v1", "Service", "t", spec={**spec, "clusterIP": ip})
        error = calls.call("POST", SERVICES, body, dryRun="All")
        calls.record("10.152.183.0/24" in error["message"])
    taken = calls.object("v1", "Service", "t", spec={**spec, "clusterIP": created["clusterIP"]})
    calls.call("POST", SERVICES, taken)
    headless = calls.object("v1", "Service", "t", spec={**spec, "clusterIP": "None"})
    calls.record(calls.call("POST", SERVICES, headless)["spec"]["clusterIPs"])


# -- defaults -------------------------------------------------------------------------------------


@scenario
def fills_in_defaults(calls: ScenarioCalls) -> None:
    created = calls.call("POST", DEPLOYMENTS, _deployment(calls))
    calls.record({key: value for key, value in created["spec"].items() if key != "template"})
    calls.record(created["spec"]["template"]["spec"])
    spec = {"selector": _SELECTOR, "template": _template(), "serviceName": "s"}
    body = calls.object("apps/v1", "StatefulSet", "a", spec=spec)
    created = calls.call("POST", STATEFUL_SETS, body)
    calls.record({key: value for key, value in created["spec"].items() if key != "template"})
    spec = {"selector": _SELECTOR, "template": _template()}
    body = calls.object("apps/v1", "DaemonSet", "a", spec=spec)
    created = calls.call("POST", "/apis/apps/v1/namespaces/{}/daemonsets", body)
    calls.record({key: value for key, value in created["spec"].items() if key != "template"})


@scenario
def encodes_the_text_of_secrets(calls: ScenarioCalls) -> None:
    secrets = "/api/v1/namespaces/{}/secrets"
    body = calls.object("v1", "Secret", "s", data={"a": "MQ=="}, stringData={"b": "2", "a": "3"})
    created = calls.call("POST", secrets, body)
    calls.record(created["data"], created["type"], "stringData" in created)
    patch = {"stringData": {"c": "ü"}}
    patched = calls.call("PATCH", f"{secrets}/s", patch, content_type=MERGE_PATCH)
    calls.record(patched["data"], "stringData" in patched)
    body = calls.object("v1", "Secret", "s", stringData={"d": "4"})
    applied = calls.apply(f"{secrets}/s", body, "m")
    calls.record(applied["data"])


# -- rights ---------------------------------------------------------------------------------------


@scenario
def refuses_without_rights(calls: ScenarioCalls) -> None:
    calls.call("POST", MAPS, calls.config_map())
    calls.call("GET", MAP, user=LIMITED)
    calls.call("GET", MAPS, user=LIMITED)
    calls.call("GET", f"{MAPS}/none", user=LIMITED)
    error = calls.call("DELETE", MAP, user=LIMITED)
    calls.record(error["message"].replace(calls.namespace, "NS"), error["details"])
    calls.record(calls.call("GET", "/api/v1/nodes", user=LIMITED)["message"])
    calls.call("GET", f"{DEPLOYMENTS}/none", user=LIMITED)
    calls.call("PATCH", MAP, {}, user=LIMITED, content_type=MERGE_PATCH)
    calls.call("POST", MAPS, calls.config_map("b"), user=LIMITED, dryRun="All")
    calls.call("GET", f"{PODS}/none/log", user=LIMITED)
    calls.call("GET", f"{PODS}/none", user=LIMITED)
    calls.call("GET", "/apis/none.example/v1/things", user=LIMITED)
    calls.call("GET", "/version", user=LIMITED)
    calls.call("GET", "/version", user="nobody")
    for verb, resource, subresource in (
        ("get", "configmaps", ""),
        ("delete", "configmaps", ""),
        ("get", "pods", "log"),
        ("get", "pods", ""),
    ):
        attributes = {"verb": verb, "resource": resource, "namespace": calls.namespace}
        attributes |= {"group": "", "subresource": subresource}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        calls.record(calls.call("POST", REVIEWS, review, user=LIMITED)["status"]["allowed"])


# -- logs and discovery ---------------------------------------------------------------------------


@scenario
def has_no_log_before_a_container_runs(calls: ScenarioCalls) -> None:
    calls.call("GET", f"{PODS}/p/log")
    two = [{"name": "c", "image": "image:1"}, {"name": "d", "image": "image:1"}]
    calls.call("POST", PODS, _pod(calls, containers=two))
    calls.call("GET", f"{PODS}/p/log")
    calls.call("GET", f"{PODS}/p/log", container="none")
    calls.call("GET", f"{MAP}/log")


@scenario
def lists_its_resources(calls: ScenarioCalls) -> None:
    calls.record(calls.call("GET", "/version")["major"])
    calls.record(calls.call("GET", "/api")["versions"])
    groups = {group["name"] for group in calls.call("GET", "/apis")["groups"]}
    calls.record({"apps", "batch", "coordination.k8s.io"} <= groups)
    resources = calls.call("GET", "/apis/coordination.k8s.io/v1")["resources"]
    calls.record([each["kind"] for each in resources if each["name"] == "leases"])
    for path in (
        *("/apis/none.example/v1/things", "/apis/none.example/v1", "/api/v1/things"),
        *("/api/v1/namespaces/default/nodes", "/none"),
    ):
        calls.call("GET", path)


# -- custom resources -----------------------------------------------------------------------------

POOLS = "/apis/crd.projectcalico.org/v1/ippools"


@scenario
def custom_resources_say_what_they_are(calls: ScenarioCalls) -> None:
    pool: Any = {"apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool"}
    pool |= {"metadata": {"name": calls.namespace}, "spec": {"cidr": "10.1.0.0/16"}}
    path = f"{POOLS}/{calls.namespace}"
    calls.call("POST", POOLS, {key: pool[key] for key in ("metadata", "spec")})
    created = calls.call("POST", POOLS, pool)
    calls.record(created["metadata"]["generation"])
    calls.record(sorted(calls.call("GET", POOLS)["items"][0]))
    calls.call("PUT", path, pool)
    changed = calls.call("PUT", path, {**created, "spec": {**pool["spec"], "disabled": True}})
    calls.record(changed["metadata"]["generation"])
    labels = {"metadata": {"labels": {"a": "b"}}}
    labeled = calls.call("PATCH", path, labels, content_type=MERGE_PATCH)
    calls.record(labeled["metadata"]["generation"])
    calls.call("PUT", path, created)
    calls.call("PUT", f"{POOLS}/none", {**pool, "metadata": {"name": "none"}})
    wanted = {"preconditions": {"resourceVersion": _version(labeled)}}
    response = calls.call("DELETE", path, wanted)
    calls.record(response.get("kind"))
