"""Which stored DaemonSets of a runbook are restored without a seal."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from deploy.changes.harmless_workload import find_unknown_images, is_harmless

SCRIPT = "nsenter -t 1 -m -u -n -i sysctl -w net.ipv6.conf.all.disable_ipv6=1; sleep infinity"


def build_spec(**pod: Any) -> dict[str, Any]:
    """Return the runbook's DaemonSet as the API stores it, with its defaults."""
    container = {
        "name": "disable-ipv6",
        "image": "busybox:1.36",
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", SCRIPT],
        "resources": {},
        "securityContext": {"privileged": True},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }
    labels = {"app": "disable-ipv6"}
    spec = {
        "containers": [container],
        "dnsPolicy": "ClusterFirst",
        "hostNetwork": True,
        "hostPID": True,
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
        "tolerations": [{"operator": "Exists"}],
        **pod,
    }
    return {
        "revisionHistoryLimit": 10,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": spec},
        "updateStrategy": {"type": "RollingUpdate"},
    }


def encode(spec: Any) -> bytes:
    return json.dumps(spec).encode()


def mount(source: str, path: str, **more: Any) -> dict[str, Any]:
    """Return the parts of a pod with one folder of the host in its container."""
    container = build_spec()["template"]["spec"]["containers"][0]
    container["volumeMounts"] = [{"name": "v", "mountPath": path, **more}]
    volume = {"name": "v", "hostPath": {"path": source, "type": ""}}
    return {"containers": [container], "volumes": [volume]}


def change_container(**fields: Any) -> dict[str, Any]:
    return {"containers": [{**build_spec()["template"]["spec"]["containers"][0], **fields}]}


PAUSE = {"name": "pause", "image": "registry.k8s.io/pause:3.9"}


@pytest.mark.parametrize(
    "pod",
    [
        {},
        mount("/", "/host"),
        mount("/etc", "/host/etc"),
        mount("/etc/sysctl.conf", "/etc/sysctl.conf"),
        change_container(image="docker.io/library/alpine:3.20@sha256:" + "a" * 64),
        change_container(image="ubuntu", command=[], args=["sleep", "infinity"]),
        {"initContainers": change_container()["containers"], "containers": [PAUSE]},
        change_container(
            env=[
                {
                    "name": "NODE_NAME",
                    "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}},
                }
            ]
        ),
    ],
)
def test_knows_the_runbooks_daemon_set(pod: dict[str, Any]) -> None:
    assert is_harmless(encode(build_spec(**pod)))


@pytest.mark.parametrize(
    "pod",
    [
        change_container(command=["sh", "-c", "id"]),
        change_container(command=["sleep", "1"], args=["|", "id"]),
        change_container(command=[]),
        change_container(image="docker.io/evil/busybox"),
        change_container(image="evil/library/busybox"),
        change_container(image="docker.io.evil.example/library/busybox"),
        change_container(image="docker:dind", command=[]),
        change_container(lifecycle={"postStart": {"exec": {"command": ["id"]}}}),
        change_container(livenessProbe={"exec": {"command": ["id"]}}),
        change_container(env=[{"name": "LD_PRELOAD", "value": "/evil.so"}]),
        change_container(env=[{"name": "NODE_NAME", "value": "$(id)"}]),
        change_container(envFrom=[{"configMapRef": {"name": "evil"}}]),
        change_container(terminationMessagePath="/bin/sleep"),
        change_container(workingDir="/host"),
        mount("/", "/bin"),
        mount("/", "/usr/bin"),
        mount("/", "/host/../bin"),
        mount("/", "/mnt/.."),
        mount("/tmp", "/host"),
        mount("/etc/../tmp", "/host"),
        mount("/", "/host", subPath="tmp"),
        {**mount("/", "/host"), "volumes": [{"name": "v", "configMap": {"name": "evil"}}]},
        {"containers": [], "ephemeralContainers": change_container(image="evil")["containers"]},
        {"initContainers": change_container(command=["id"])["containers"]},
        {"serviceAccountName": "cluster-admin"},
        {"schedulerName": "evil"},
        {"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["registry"]}]},
        {"runtimeClassName": "evil"},
        {"imagePullSecrets": [{"name": "x"}]},
    ],
)
def test_refuses_what_the_runbook_never_had(pod: dict[str, Any]) -> None:
    assert not is_harmless(encode(build_spec(**pod)))


@pytest.mark.parametrize(
    ("labels", "annotations"),
    [
        ({"sidecar.example/inject": "true"}, {}),
        ({}, {"agent-inject-command": "id"}),
    ],
)
def test_refuses_what_makes_a_webhook_change_the_pods(
    labels: dict[str, str], annotations: dict[str, str]
) -> None:
    spec = build_spec()
    spec["template"]["metadata"] = {"labels": labels, "annotations": annotations}
    assert not is_harmless(encode(spec))


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b'{"template": []}', b'{"template": {"x": 1}}']
)
def test_refuses_what_is_no_spec(content: bytes) -> None:
    assert not is_harmless(content)
    assert find_unknown_images(content) == ()


def test_names_the_images_that_an_administrator_must_know() -> None:
    spec = build_spec()
    assert find_unknown_images(encode(spec)) == ()
    spec["template"]["spec"]["containers"][0]["image"] = "registry.example/nsenter:1"
    assert not is_harmless(encode(spec))
    assert find_unknown_images(encode(spec)) == ("registry.example/nsenter:1",)
    harmful = copy.deepcopy(spec)
    harmful["template"]["spec"]["containers"][0]["command"] = ["sh", "-c", "id"]
    assert find_unknown_images(encode(harmful)) == ()
    own_program = copy.deepcopy(spec)
    del own_program["template"]["spec"]["containers"][0]["command"]
    assert find_unknown_images(encode(own_program)) == ()
