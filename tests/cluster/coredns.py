"""Read, write and restart the lab's CoreDNS."""

from __future__ import annotations

import json

from tests.cluster.lab import Lab

NAMESPACE = "kube-system"
_ROLLOUT = ("-n", NAMESPACE, "rollout")


def read_corefile(lab: Lab) -> str:
    return str(lab.get("configmap", "coredns", "-n", NAMESPACE)["data"]["Corefile"])


def read_corefile_version(lab: Lab) -> str:
    """Return the resourceVersion of CoreDNS' ConfigMap."""
    metadata = lab.get("configmap", "coredns", "-n", NAMESPACE)["metadata"]
    return str(metadata["resourceVersion"])


def write_corefile(lab: Lab, text: str, *, field_manager: str | None = None) -> None:
    """Replace the Corefile; field_manager is the name of the controller that does it."""
    patch = json.dumps({"data": {"Corefile": text}})
    manager = ("--field-manager", field_manager) if field_manager else ()
    lab.kubectl("-n", NAMESPACE, "patch", "configmap", "coredns", *manager, "-p", patch)


def list_pods(lab: Lab) -> set[str]:
    """Return the names of CoreDNS' pods."""
    selector = ("-l", "k8s-app=kube-dns", "-o", "name")
    return set(lab.kubectl("-n", NAMESPACE, "get", "pods", *selector).split())


def restart(lab: Lab) -> None:
    """Restart CoreDNS and wait until its new pods are ready."""
    lab.kubectl(*_ROLLOUT, "restart", "deployment/coredns")
    wait_until_rolled_out(lab)


def wait_until_rolled_out(lab: Lab, seconds: int = 120) -> None:
    """Wait until CoreDNS' pods are ready."""
    status = ("status", "deployment/coredns", f"--timeout={seconds}s")
    lab.kubectl(*_ROLLOUT, *status, timeout=seconds + 10)
