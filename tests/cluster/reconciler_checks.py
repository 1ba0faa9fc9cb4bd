"""What something else does to fixed objects, and what the keeper makes of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.cluster.lab import Lab
from tests.cluster.waiting import wait_for

ACCOUNT = "system:serviceaccount:kube-system:pypi-mirror-keeper"
OTHER_MANAGER = ("--field-manager", "an-add-on")
RESTORE_SECONDS = 60  # in which a fix is back: a look is every 15 s


def read_corefile(lab: Lab) -> str:
    return lab.kubectl(
        *("-n", "kube-system", "get", "configmap", "coredns", "-o", "jsonpath={.data.Corefile}")
    )


def write_corefile(lab: Lab, text: str) -> None:
    patch = json.dumps({"data": {"Corefile": text}})
    where = ("-n", "kube-system", "patch", "configmap", "coredns")
    lab.kubectl(*where, *OTHER_MANAGER, "-p", patch)


def wait_until_restored(what: str, there: Callable[[], bool]) -> None:
    wait_for(f"{what} to be put back", there, timeout=RESTORE_SECONDS)


def list_events(lab: Lab, kind: str) -> list[Any]:
    """Those that the keeper made of objects of a kind."""
    chosen = f"source=pypi-mirror-keeper,involvedObject.kind={kind}"
    told = lab.kubectl("get", "events", "-A", "--field-selector", chosen, "-o", "json")
    found = json.loads(told)["items"]
    assert isinstance(found, list)
    return found


def revert_corefile(lab: Lab, original: str) -> tuple[str, str]:
    """An add-on writes its own, with a line that the fixed one had not.

    The fixed one, and what there has to be once it is put back: both.
    """
    fixed, line = read_corefile(lab), "    errors\n    log\n"
    write_corefile(lab, original.replace("    errors\n", line, 1))
    return fixed, fixed.replace("    errors\n", line, 1)


def check_corefile(lab: Lab, wanted: str) -> None:
    """It is put back, and the Event says by whom it was reverted."""
    wait_until_restored("the Corefile", lambda: read_corefile(lab) == wanted)
    told = wait_for("its Event", lambda: list_events(lab, "ConfigMap"), timeout=RESTORE_SECONDS)[-1]
    assert told["reason"] == "FixReverted"
    assert told["involvedObject"]["name"] == "coredns"
    assert "reverted by an-add-on" in told["message"]


def check_pool(lab: Lab) -> None:
    """As somebody's own file has it, but for one key: disabled again, and that change stays."""
    pool = ("ippools.crd.projectcalico.org", "default-ipv6-ippool")

    def spec() -> Mapping[str, Any]:
        found = json.loads(lab.kubectl("get", *pool, "-o", "json"))["spec"]
        assert isinstance(found, dict)
        return found

    def write(**change: bool | None) -> None:
        patch = json.dumps({"spec": change})
        lab.kubectl("patch", *pool, *OTHER_MANAGER, "--type=merge", "-p", patch)

    before = spec()
    write(disabled=None, natOutgoing=not before["natOutgoing"])
    wait_until_restored("the pool", lambda: bool(spec().get("disabled")))
    assert spec()["natOutgoing"] is not before["natOutgoing"]
    wait_for("its Event", lambda: list_events(lab, "IPPool"), timeout=RESTORE_SECONDS)
    write(natOutgoing=before["natOutgoing"])


def revert_nodes(lab: Lab, file: tuple[str, str], setting: tuple[str, str]) -> Mapping[str, str]:
    """A file of one node as it was before the fix, and a setting of another: what stood there."""
    node, path = file
    found = json.loads(lab.kubectl("-n", "kube-system", "get", "configmap", "-o", "json"))["items"]
    name = f"file {path} on node {node}"
    (base,) = [
        base64.b64decode(one["binaryData"]["base"]).decode()
        for one in found
        if one["metadata"].get("annotations", {}).get("pypi-mirror/target") == name
    ]
    fixed = {path: lab.exec(node, "cat", path).stdout, setting[1]: "1\n"}
    assert base != fixed[path]
    lab.exec(node, "tee", path, stdin=base)
    lab.exec(setting[0], "sysctl", "-qw", f"{setting[1]}=0")
    return fixed


def check_nodes(
    lab: Lab, file: tuple[str, str], setting: tuple[str, str], fixed: Mapping[str, str]
) -> None:
    """Both are as they were, and the kubelet has told of them, as it does of failing probes."""
    where = f"/proc/sys/{setting[1].replace('.', '/')}"
    for node, name, path in ((*file, file[1]), (*setting, where)):

        def back(node: str = node, name: str = name, path: str = path) -> bool:
            return lab.exec(node, "cat", path).stdout == fixed[name]

        wait_until_restored(f"{name} on {node}", back)

        def told(node: str = node, name: str = name) -> bool:
            return any(name in one and "FixReverted" in one for one in _said_by_agents(lab, node))

        wait_for(f"the Event of {name}", told, timeout=RESTORE_SECONDS)


def _said_by_agents(lab: Lab, node: str) -> list[str]:
    chosen = "reason=Unhealthy,involvedObject.kind=Pod,involvedObject.namespace=kube-system"
    told = lab.kubectl("get", "events", "-A", "--field-selector", chosen, "-o", "json")
    return [
        one["message"] for one in json.loads(told)["items"] if one["source"].get("host") == node
    ]


ALLOWED = (
    ("get", "configmaps/coredns"),
    ("patch", "configmaps/coredns"),
    ("patch", "configmaps/calico-config"),
    ("patch", "ippools.crd.projectcalico.org/default-ipv6-ippool"),
    ("create", "events"),
)
DENIED = (
    ("patch", "configmaps/another"),
    ("list", "configmaps"),
    ("delete", "configmaps/coredns"),
    ("create", "configmaps"),
    ("patch", "ippools.crd.projectcalico.org/default-ipv4-ippool"),
    ("get", "secrets"),
    ("create", "pods"),
    ("create", "pods/exec"),
    ("list", "events"),
)


def check_rights(lab: Lab) -> None:
    assert [one for one in ALLOWED if not is_allowed(lab, *one)] == []
    assert [one for one in DENIED if is_allowed(lab, *one)] == []


def is_allowed(lab: Lab, verb: str, what: str) -> bool:
    """Whether the keeper's account may do this in kube-system."""
    asked = ("auth", "can-i", verb, what, "-n", "kube-system", f"--as={ACCOUNT}")
    return "yes" in lab.kubectl(*asked, check=False).splitlines()


def find_pod_security_errors(lab: Lab) -> str:
    """What Pod Security `restricted` says of the keeper's pod; empty where it passes."""
    where = ("-n", "kube-system", "get", "deployment", "pypi-mirror-keeper", "-o", "json")
    spec = json.loads(lab.kubectl(*where))["spec"]["template"]["spec"]
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "strict"}}
    space["metadata"]["labels"] = {"pod-security.kubernetes.io/enforce": "restricted"}  # type: ignore[index]
    lab.kubectl("apply", "-f", "-", stdin=json.dumps(space))
    try:
        del spec["serviceAccountName"], spec["serviceAccount"]  # there is none in this namespace
        meta = {"name": "keeper", "namespace": "strict"}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
        said = lab.kubectl(
            "create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod), check=False
        )
        return "" if "pod/keeper created" in said else said
    finally:
        lab.kubectl("delete", "namespace", "strict", "--wait=false")


def list_objects(lab: Lab) -> str:
    """Objects of the keeper that are there."""
    kinds = (
        "configmap,deployment,role,rolebinding,clusterrole,clusterrolebinding,serviceaccount,pod"
    )
    chosen = ("-l", "app.kubernetes.io/component=keeper", "--ignore-not-found", "-o", "name")
    return lab.kubectl("get", kinds, "-A", *chosen)
