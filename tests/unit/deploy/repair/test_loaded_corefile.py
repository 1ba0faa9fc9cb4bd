"""A rollback returns only when every pod of CoreDNS runs with the restored Corefile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from deploy.changes.model import Change, ConfigMapKey, Edit
from deploy.evidence.coredns import CoreDns
from deploy.fix_registry import build_engine
from deploy.repair import loaded_corefile
from deploy.repair.coredns_reload import require_running, trigger_reload
from deploy.repair.loaded_corefile import read_running, wait_until_loaded
from deploy.repair.rollback import plan_rollback, roll_back
from mirror.core.errors import RefusedError, WaitTimeout
from mirror.core.progress import SILENT
from tests.kubernetes_api import DirectCluster, MemoryApi, on

SYSTEM = "kube-system"
COREFILE = ".:53 {\n    errors\n    forward . 9.9.9.9\n    reload\n}\n"
COREDNS = CoreDns(namespace=SYSTEM, name="coredns", text=COREFILE, workload="Deployment/coredns")
LABELS = {"k8s-app": "kube-dns"}
OLD, FIXED = "aa" * 32, "bb" * 32
ANNOTATION = "pypi-mirror/corefile-written"
KEY = ConfigMapKey(namespace=SYSTEM, name="coredns", key="Corefile")
DNS = Edit(fix="dns", options={"keep_aaaa": [], "forward": [], "prefer_udp": False})


def line(checksum: str) -> str:
    return f"[INFO] plugin/reload: Running configuration SHA512 = {checksum}\n"


@pytest.fixture
def api() -> MemoryApi:
    api = MemoryApi()
    api.seed({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
    container = {"name": "coredns", "image": "coredns"}
    volume = {"name": "c", "configMap": {"name": "coredns"}}
    template = {
        "metadata": {"labels": LABELS},
        "spec": {"containers": [container], "volumes": [volume]},
    }
    spec = {"selector": {"matchLabels": LABELS}, "template": template, "replicas": 2}
    meta = {"name": "coredns", "namespace": SYSTEM}
    api.seed({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec})
    data = {"Corefile": COREFILE}
    api.seed({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})
    for name in ("a", "b"):
        meta = {"name": name, "namespace": SYSTEM, "labels": LABELS}  # type: ignore[dict-item]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta}
        api.seed({**pod, "spec": {"containers": [container]}, "status": {"phase": "Running"}})
        api.logs[SYSTEM, name, "coredns"] = line(OLD) + line(FIXED)
    return api


def at_log_read(api: MemoryApi, number: int, act: Callable[[], None]) -> None:
    reads: list[Any] = []

    def count(request: Any) -> None:
        reads.append(request)
        if len(reads) == number:
            act()

    api.failures.run(on("GET", "*/pods/*/log"), count, times=None)


def log(api: MemoryApi, pod: str, text: str) -> None:
    api.logs[SYSTEM, pod, "coredns"] += text


def test_waits_for_every_pod(api: MemoryApi) -> None:
    cluster = DirectCluster(api)
    before = read_running(cluster, COREDNS, 3600)
    loaded: list[str] = []

    def load_in(pod: str) -> None:
        log(api, pod, line(OLD))
        loaded.append(pod)

    at_log_read(api, 3, lambda: load_in("a"))
    at_log_read(api, 6, lambda: load_in("b"))
    wait_until_loaded(cluster, COREDNS, before, SILENT)
    assert loaded == ["a", "b"]


def test_says_which_pod_has_not_loaded_it(api: MemoryApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded_corefile, "TIMEOUT_SECONDS", 0.1)
    cluster = DirectCluster(api)
    before = read_running(cluster, COREDNS, 3600)
    log(api, "a", line(OLD))
    log(api, "b", "[ERROR] plugin/reload: Corefile changed but reload failed: plugin/x\n")
    with pytest.raises(WaitTimeout, match="has not loaded it in time") as error:
        wait_until_loaded(cluster, COREDNS, before, SILENT)
    assert error.value.why.startswith("pod b: [ERROR]")
    assert "\n" not in error.value.why
    assert "rollout restart deployment/coredns" in error.value.next_step


def test_a_pod_that_started_since_has_the_restored_one(api: MemoryApi) -> None:
    cluster = DirectCluster(api)
    before = read_running(cluster, COREDNS, 3600)
    for name in ("a", "b"):
        pod = api.read("Pod", name, SYSTEM)
        api.remove("Pod", name, SYSTEM)
        pod["metadata"].pop("uid")
        pod["metadata"].pop("resourceVersion")
        api.seed(pod)
    wait_until_loaded(cluster, COREDNS, before, SILENT)


def test_a_pod_that_never_had_the_fix_is_watched_for_it(
    api: MemoryApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its kubelet may have written the fix already when the rollback came."""
    monkeypatch.setattr(loaded_corefile, "TIMEOUT_SECONDS", 4.0)
    cluster = DirectCluster(api)
    api.logs = {(SYSTEM, name, "coredns"): "" for name in ("a", "b")}
    texts = iter([line(OLD), "", line(OLD), ""])  # all of the log, then that since the fix
    original = loaded_corefile._read_log
    monkeypatch.setattr(loaded_corefile, "_read_log", lambda *_: next(texts))
    before = read_running(cluster, COREDNS, 1)
    monkeypatch.setattr(loaded_corefile, "_read_log", original)
    assert len(before.never_fixed) == 2
    log(api, "b", line(FIXED) + line(OLD))
    at_log_read(api, 2, lambda: log(api, "a", line(FIXED)))
    at_log_read(api, 5, lambda: log(api, "a", line(OLD)))
    wait_until_loaded(cluster, COREDNS, before, SILENT)
    assert api.logs[SYSTEM, "a", "coredns"].endswith(line(OLD))


@pytest.mark.parametrize("why", ["no log", "no checksum", "no pods"])
def test_what_cannot_be_seen_does_not_stop_a_rollback(api: MemoryApi, why: str) -> None:
    if why == "no log":
        api.failures.refuse(on("GET", "*/pods/*/log"), 403, "Forbidden")
    elif why == "no checksum":
        api.logs[SYSTEM, "a", "coredns"] = "query log\n"
    else:
        api.remove("Pod", "a", SYSTEM)
        api.remove("Pod", "b", SYSTEM)
    before = read_running(DirectCluster(api), COREDNS, 3600)
    assert before.unseen
    wait_until_loaded(DirectCluster(api), COREDNS, before, SILENT)


@pytest.mark.parametrize("annotated", [True, False], ids=["same pods", "pods since the fix"])
def test_a_rollback_leaves_no_annotation_and_proves_its_effect(
    api: MemoryApi, annotated: bool
) -> None:
    cluster = DirectCluster(api)
    engine = build_engine(cluster)
    with engine.hold_lease():
        for update in engine.plan([Change(target=KEY, edit=DNS, why="")]):
            engine.apply(update)
    if annotated:
        trigger_reload(cluster, COREDNS, "", SILENT)
        assert ANNOTATION in api.read("Pod", "a", SYSTEM)["metadata"]["annotations"]

    def load(_: Any) -> None:
        for pod in ("a", "b"):
            log(api, pod, line(OLD))

    api.failures.run(on("PUT", "*/configmaps/coredns"), load)
    roll_back(cluster, plan_rollback(cluster, []), force=False)
    assert api.read("ConfigMap", "coredns", SYSTEM)["data"]["Corefile"] == COREFILE
    for name in ("a", "b"):
        assert ANNOTATION not in (
            api.read("Pod", name, SYSTEM)["metadata"].get("annotations") or {}
        )


def test_coredns_without_replicas_is_named_before_anything_is_written(api: MemoryApi) -> None:
    require_running(DirectCluster(api), COREDNS)
    api.edit("Deployment", "coredns", SYSTEM, lambda obj: obj["spec"].update(replicas=0))
    with pytest.raises(RefusedError, match="Deployment/coredns has 0 replicas") as error:
        require_running(DirectCluster(api), COREDNS)
    assert "scale deployment/coredns --replicas" in error.value.next_step
