"""Volumes as nodes have them: not writable, another owner's, full."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.cluster.diagnosis import diagnose
from tests.cluster.mirror_lab import MirrorLab
from tests.cluster.test_up_errors import expect_failure, namespace

__all__ = ["namespace"]

pytestmark = [pytest.mark.cluster, pytest.mark.index]


def test_a_volume_that_is_not_writable(mirrored: MirrorLab, namespace: str) -> None:
    """A hostPath volume of root's, mode 0755: no fsGroup helps there."""
    mirrored.lab.exec("babel", "mkdir", "-m", "755", "-p", "/opt/shut")
    with host_path_volume(mirrored, namespace, "shut"):
        words = ("-n", namespace, "--image", mirrored.image, "--storage-class", "shut")
        said = ("babel", "the volume is not writable: /data", "mode 0755", "chown")
        expect_failure(mirrored, *words, "--timeout", "240", code=3, said=said)


def test_a_small_host_path_volume_that_fills_and_one_of_another_owner(
    mirrored: MirrorLab, namespace: str
) -> None:
    """A folder of root's that all may write (0777): devpi's own rights are made inside of it."""

    def there(*words: str, check: bool = True) -> str:
        return str(mirrored.lab.exec("babel", *words, check=check).stdout)

    there("mkdir", "-p", "/opt/small")
    there("mount", "-t", "tmpfs", "-o", "size=96m,mode=777,uid=0,gid=0", "tmpfs", "/opt/small")
    words = ("-n", namespace, "--storage-class", "small")
    try:
        with host_path_volume(mirrored, namespace, "small"):
            told = mirrored.up(*words)
            _fills(mirrored, namespace, told["url"].removesuffix("/workloads/stable/+simple/"))
            mirrored.run_mirror("down", "-n", namespace)
            there("chown", "-R", "4711:4711", "/opt/small/devpi")
            said = ("files that the mirror may not write", "4711:4711", "chown -R 10001:10001")
            image = ("--image", mirrored.image)
            expect_failure(mirrored, *words, *image, "--timeout", "240", code=3, said=said)
            there("chown", "-R", "10001:10001", "/opt/small/devpi")
            there("chmod", "-R", "u-w", "/opt/small/devpi")
            mirrored.up(*words)
    finally:
        there("umount", "-l", "/opt/small")


def _fills(mirrored: MirrorLab, namespace: str, root: str) -> None:
    """Named by status and doctor, and what is kept is served; well when there is room."""

    def ask(path: str, accept: str = "*/*") -> str:
        """The answer's body and, in its last line, its status: asked on the node."""
        words = ("curl", "-s", "-m", "60", "-w", "\n%{http_code}", "-H", f"Accept: {accept}")
        return str(mirrored.lab.exec("babel", *words, f"{root}{path}").stdout)

    def state() -> dict[str, Any]:
        done = mirrored.run_mirror("status", "-n", namespace, "-o", "json")
        return dict(json.loads(done.stdout))

    def file(project: str) -> str:
        form = "application/vnd.pypi.simple.v1+json"
        page, _, code = ask(f"/workloads/stable/+simple/{project}/", form).rpartition("\n")
        assert code == "200", page
        url = str(json.loads(page)["files"][0]["url"])
        return url.removeprefix("../../../..")

    pages = mirrored.lab.exec("babel", "ls", "/opt/small/public/pages").stdout.split()
    kept = pages[0].partition(".")[0]
    link = file(kept)
    assert ask(link).endswith("\n200")
    mirrored.lab.exec("babel", "dd", "if=/dev/zero", "of=/opt/small/fill", "bs=64k", check=False)
    mirrored.lab.exec("babel", "dd", "if=/dev/zero", "of=/opt/small/rest", "bs=1k", check=False)
    assert file(kept) == link
    assert ask(link).endswith("\n200")
    cold = file("six")
    assert ask(cold) == "No space left on the mirror's volume\n\n503"
    (trouble,) = state()["trouble"]
    for part in ("full", "claim pypi-mirror-data (20Gi)", "node babel", "mirror up --size"):
        assert part in trouble
    told = diagnose(mirrored, "--category", "mirror", "-n", namespace)
    told.assert_finding(
        "mirror.room",
        "claim pypi-mirror-data, 20Gi",
        "is full",
        "babel",
        fix_command="mirror up --size",
    )
    mirrored.lab.exec("babel", "rm", "/opt/small/fill", "/opt/small/rest")
    assert ask(cold).endswith("\n200")
    assert state()["trouble"] == []


@contextmanager
def host_path_volume(mirrored: MirrorLab, namespace: str, name: str) -> Iterator[None]:
    """A storage class of one volume: the folder /opt/NAME of node babel."""
    at_home = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["babel"]}
    node = {"nodeSelectorTerms": [{"matchExpressions": [at_home]}]}
    meta = {"name": name}
    volume: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": meta,
        "spec": {
            "capacity": {"storage": "20Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": name,
            "hostPath": {"path": f"/opt/{name}"},
            "nodeAffinity": {"required": node},
        },
    }
    provisioner = "kubernetes.io/no-provisioner"
    kind = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": meta}
    for obj in (kind | {"provisioner": provisioner}, volume):
        mirrored.lab.kubectl("apply", "-f", "-", stdin=json.dumps(obj))
    try:
        yield
    finally:
        mirrored.lab.kubectl("delete", "namespace", namespace, timeout=240)
        mirrored.lab.kubectl("delete", f"pv/{name}", f"storageclass/{name}")
