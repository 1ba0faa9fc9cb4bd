"""Revert fixes as another controller would, and check that the reconciler restores them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.cluster.coredns import read_corefile, write_corefile
from tests.cluster.lab import Lab
from tests.cluster.waiting import wait_for

ACCOUNT = "system:serviceaccount:kube-system:pypi-mirror-keeper"
OTHER_MANAGER = "an-add-on"
RESTORE_SECONDS = 60  # the reconciler looks every 15 s


def wait_until_restored(what: str, is_restored: Callable[[], bool]) -> None:
    wait_for(f"{what} to be restored", is_restored, timeout=RESTORE_SECONDS)


def list_events(lab: Lab, kind: str) -> list[Any]:
    """Return the reconciler's Events about objects of a kind."""
    selector = f"source=pypi-mirror-keeper,involvedObject.kind={kind}"
    return lab.get_items("events", "-A", "--field-selector", selector)


def revert_corefile(lab: Lab, original: str) -> tuple[str, str]:
    """Write the original Corefile with one more line, as an add-on would.

    Returns the Corefile with the fixes, and the expected one: the fixes and the new line.
    """
    fixed, line = read_corefile(lab), "    errors\n    log\n"
    reverted = original.replace("    errors\n", line, 1)
    write_corefile(lab, reverted, field_manager=OTHER_MANAGER)
    return fixed, fixed.replace("    errors\n", line, 1)


def check_corefile(lab: Lab, expected: str) -> None:
    """Check that the fixes are restored, and that an Event names who reverted them."""
    wait_until_restored("the Corefile", lambda: read_corefile(lab) == expected)
    event = wait_for("its Event", lambda: list_events(lab, "ConfigMap"), timeout=RESTORE_SECONDS)[
        -1
    ]
    assert event["reason"] == "FixReverted"
    assert event["involvedObject"]["name"] == "coredns"
    assert "reverted by an-add-on" in event["message"]


def check_pool(lab: Lab) -> None:
    """Enable the pool and change another key: the pool is disabled again, the change stays."""
    pool = ("ippools.crd.projectcalico.org", "default-ipv6-ippool")

    def read_spec() -> Mapping[str, Any]:
        spec = lab.get(*pool)["spec"]
        assert isinstance(spec, dict)
        return spec

    def patch_spec(**fields: bool | None) -> None:
        patch = json.dumps({"spec": fields})
        manager = ("--field-manager", OTHER_MANAGER)
        lab.kubectl("patch", *pool, *manager, "--type=merge", "-p", patch)

    before = read_spec()
    patch_spec(disabled=None, natOutgoing=not before["natOutgoing"])
    wait_until_restored("the pool", lambda: bool(read_spec().get("disabled")))
    assert read_spec()["natOutgoing"] is not before["natOutgoing"]
    wait_for("its Event", lambda: list_events(lab, "IPPool"), timeout=RESTORE_SECONDS)
    patch_spec(natOutgoing=before["natOutgoing"])


def revert_nodes(lab: Lab, file: tuple[str, str], setting: tuple[str, str]) -> Mapping[str, str]:
    """Restore the original of a file on one node, and turn on a setting of another.

    file and setting are a node and a path or sysctl key. Returns path or key → the fixed content.
    """
    node, path = file
    target = f"file {path} on node {node}"
    (original,) = [
        base64.b64decode(entry["binaryData"]["base"]).decode()
        for entry in lab.get_items("configmap", "-n", "kube-system")
        if entry["metadata"].get("annotations", {}).get("pypi-mirror/target") == target
    ]
    fixed = {path: lab.exec(node, "cat", path).stdout, setting[1]: "1\n"}
    assert original != fixed[path]
    lab.exec(node, "tee", path, stdin=original)
    lab.exec(setting[0], "sysctl", "-qw", f"{setting[1]}=0")
    return fixed


def check_nodes(
    lab: Lab, file: tuple[str, str], setting: tuple[str, str], fixed: Mapping[str, str]
) -> None:
    """Check that file and setting are restored, and that the kubelet reported it as an Event.

    The agent reports through its readiness probe, so the Event is one of a failing probe.
    """
    sysctl_path = f"/proc/sys/{setting[1].replace('.', '/')}"
    for node, name, path in ((*file, file[1]), (*setting, sysctl_path)):

        def is_restored(node: str = node, name: str = name, path: str = path) -> bool:
            return lab.exec(node, "cat", path).stdout == fixed[name]

        wait_until_restored(f"{name} on {node}", is_restored)

        def is_reported(node: str = node, name: str = name) -> bool:
            messages = _list_agent_messages(lab, node)
            return any(name in message and "FixReverted" in message for message in messages)

        wait_for(f"the Event of {name}", is_reported, timeout=RESTORE_SECONDS)


def _list_agent_messages(lab: Lab, node: str) -> list[str]:
    selector = "reason=Unhealthy,involvedObject.kind=Pod,involvedObject.namespace=kube-system"
    events = lab.get_items("events", "-A", "--field-selector", selector)
    return [event["message"] for event in events if event["source"].get("host") == node]


ALLOWED = (
    ("get", "configmaps/coredns"),
    ("patch", "configmaps/coredns"),
    ("get", "configmaps/calico-config"),
    ("get", "daemonsets/calico-node"),
    ("get", "configmaps/pypi-mirror-node-orders"),
    ("patch", "ippools.crd.projectcalico.org/default-ipv6-ippool"),
    ("create", "events"),
)
DENIED = (
    ("patch", "configmaps/calico-config"),
    ("patch", "configmaps/pypi-mirror-node-orders"),
    ("patch", "daemonsets/calico-node"),
    ("patch", "daemonsets/pypi-mirror-node-agent"),
    ("update", "configmaps/coredns"),
    ("patch", "configmaps/another"),
    ("list", "configmaps"),
    ("delete", "configmaps/coredns"),
    ("create", "configmaps"),
    ("patch", "ippools.crd.projectcalico.org/default-ipv4-ippool"),
    ("get", "secrets"),
    ("create", "pods"),
    ("get", "pods/exec"),
    ("create", "pods/exec"),
    ("list", "events"),
)


def check_rights(lab: Lab) -> None:
    """Check that the reconciler's account has the rights that it needs, and no more."""
    assert [right for right in ALLOWED if not is_allowed(lab, *right)] == []
    assert [right for right in DENIED if is_allowed(lab, *right)] == []


def is_allowed(lab: Lab, verb: str, resource: str) -> bool:
    """Whether the reconciler's account has a right in kube-system."""
    review = ("auth", "can-i", verb, resource, "-n", "kube-system", f"--as={ACCOUNT}")
    return "yes" in lab.kubectl(*review, check=False).splitlines()


def find_pod_security_errors(lab: Lab) -> str:
    """Return the errors of Pod Security `restricted` about the reconciler's pod; "" if none."""
    deployment = lab.get("deployment", "pypi-mirror-keeper", "-n", "kube-system")
    spec = deployment["spec"]["template"]["spec"]
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"name": "strict", "labels": labels}
    lab.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": namespace})
    try:
        del spec["serviceAccountName"], spec["serviceAccount"]  # not in this namespace
        metadata = {"name": "reconciler", "namespace": "strict"}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        create = ("create", "--dry-run=server", "-f", "-")
        output = lab.kubectl(*create, stdin=json.dumps(pod), check=False)
        return "" if "pod/reconciler created" in output else output
    finally:
        lab.kubectl("delete", "namespace", "strict", "--wait=false")


def list_objects(lab: Lab) -> str:
    """Return the names of the reconciler's objects, one per line."""
    kinds = (
        "configmap,deployment,role,rolebinding,clusterrole,clusterrolebinding,serviceaccount,pod"
    )
    selector = ("-l", "app.kubernetes.io/component=keeper", "--ignore-not-found", "-o", "name")
    return lab.kubectl("get", kinds, "-A", *selector)
