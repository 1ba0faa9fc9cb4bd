"""Volumes with faults: not writable, owned by another user, full."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.cluster.mirror_lab import MirrorLab

pytestmark = [pytest.mark.cluster, pytest.mark.index]


def test_up_rejects_a_volume_that_is_not_writable(mirror_lab: MirrorLab, namespace: str) -> None:
    """A hostPath volume of root with mode 0755, where fsGroup does not help."""
    mirror_lab.lab.exec("babel", "mkdir", "-m", "755", "-p", "/opt/shut")
    with host_path_volume(mirror_lab, namespace, "shut"):
        options = ("-n", namespace, "--image", mirror_lab.image, "--storage-class", "shut")
        messages = ("babel", "the volume is not writable: /data", "mode 0755", "chown")
        mirror_lab.expect_up_to_fail(*options, "--timeout", "240", code=3, messages=messages)


def test_full_volume_and_volume_of_another_owner(mirror_lab: MirrorLab, namespace: str) -> None:
    """A folder of root that everybody may write to (mode 0777)."""

    def run_on_node(*argv: str, check: bool = True) -> str:
        return str(mirror_lab.lab.exec("babel", *argv, check=check).stdout)

    run_on_node("mkdir", "-p", "/opt/small")
    run_on_node(
        "mount", "-t", "tmpfs", "-o", "size=96m,mode=777,uid=0,gid=0", "tmpfs", "/opt/small"
    )
    options = ("-n", namespace, "--storage-class", "small")
    try:
        with host_path_volume(mirror_lab, namespace, "small"):
            report = mirror_lab.up(*options)
            _check_full_volume(
                mirror_lab, namespace, report["url"].removesuffix("/workloads/stable/+simple/")
            )
            mirror_lab.run_mirror("down", "-n", namespace)
            run_on_node("chown", "-R", "4711:4711", "/opt/small/devpi")
            messages = ("files that the mirror may not write", "4711:4711", "chown -R 10001:10001")
            image = ("--image", mirror_lab.image)
            mirror_lab.expect_up_to_fail(
                *options, *image, "--timeout", "240", code=3, messages=messages
            )
            run_on_node("chown", "-R", "10001:10001", "/opt/small/devpi")
            run_on_node("chmod", "-R", "u-w", "/opt/small/devpi")
            mirror_lab.up(*options)
    finally:
        run_on_node("umount", "-l", "/opt/small")


def _check_full_volume(mirror_lab: MirrorLab, namespace: str, base_url: str) -> None:
    """Check that a full volume is reported, that cached files are served, and the recovery."""

    def fetch(path: str, accept: str = "*/*") -> str:
        """Return the response's body and, on the last line, its status; fetched on the node."""
        curl = ("curl", "-s", "-m", "60", "-w", "\n%{http_code}", "-H", f"Accept: {accept}")
        return str(mirror_lab.lab.exec("babel", *curl, f"{base_url}{path}").stdout)

    def read_status() -> dict[str, Any]:
        return dict(mirror_lab.run_json("status", "-n", namespace, code=None))

    def find_file_path(project: str) -> str:
        json_type = "application/vnd.pypi.simple.v1+json"
        page, _, code = fetch(f"/workloads/stable/+simple/{project}/", json_type).rpartition("\n")
        assert code == "200", page
        url = str(json.loads(page)["files"][0]["url"])
        return url.removeprefix("../../../..")

    pages = mirror_lab.lab.exec("babel", "ls", "/opt/small/public/pages").stdout.split()
    project = pages[0].partition(".")[0]
    link = find_file_path(project)
    assert fetch(link).endswith("\n200")
    mirror_lab.lab.exec("babel", "dd", "if=/dev/zero", "of=/opt/small/fill", "bs=64k", check=False)
    mirror_lab.lab.exec("babel", "dd", "if=/dev/zero", "of=/opt/small/rest", "bs=1k", check=False)
    assert find_file_path(project) == link
    assert fetch(link).endswith("\n200")
    cold = find_file_path("six")
    assert fetch(cold) == "No space left on the mirror's volume\n\n503"
    (trouble,) = read_status()["trouble"]
    for part in ("full", "claim pypi-mirror-data (20Gi)", "node babel", "mirror up --size"):
        assert part in trouble
    diagnosis = mirror_lab.diagnose("--category", "mirror", "-n", namespace)
    diagnosis.assert_finding(
        "mirror.room",
        "claim pypi-mirror-data, 20Gi",
        "is full",
        "babel",
        fix_command="mirror up --size",
    )
    mirror_lab.lab.exec("babel", "rm", "/opt/small/fill", "/opt/small/rest")
    assert fetch(cold).endswith("\n200")
    assert read_status()["trouble"] == []


@contextmanager
def host_path_volume(mirror_lab: MirrorLab, namespace: str, name: str) -> Iterator[None]:
    """Provide a storage class with one volume: the folder /opt/NAME of node babel."""
    on_babel = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["babel"]}
    node_selector = {"nodeSelectorTerms": [{"matchExpressions": [on_babel]}]}
    metadata = {"name": name}
    volume: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": metadata,
        "spec": {
            "capacity": {"storage": "20Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": name,
            "hostPath": {"path": f"/opt/{name}"},
            "nodeAffinity": {"required": node_selector},
        },
    }
    provisioner = "kubernetes.io/no-provisioner"
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": metadata,
    }
    mirror_lab.lab.apply(storage_class | {"provisioner": provisioner}, volume)
    try:
        yield
    finally:
        mirror_lab.lab.kubectl("delete", "namespace", namespace, timeout=240)
        mirror_lab.lab.kubectl("delete", f"pv/{name}", f"storageclass/{name}")
