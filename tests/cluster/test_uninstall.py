"""`mirror uninstall` in a real cluster: everything is undone, and nothing of ours is left."""

from __future__ import annotations

import pytest

from tests.cluster import coredns
from tests.cluster.mirror_lab import MirrorLab
from tests.cluster.objects import build_deployment
from tests.cluster.waiting import wait_for
from tests.cluster.workloads import WORKLOAD_IMAGE

pytestmark = [pytest.mark.cluster, pytest.mark.index]

OURS = (
    *("get", "-A", "-o", "name", "-l", "app.kubernetes.io/managed-by=pypi-mirror"),
    "all,configmap,secret,pvc,networkpolicy,lease,serviceaccount,role,rolebinding,clusterrole,"
    "clusterrolebinding,namespace",
)


def test_uninstall_leaves_nothing(mirror_lab: MirrorLab) -> None:
    lab = mirror_lab.lab
    corefile = coredns.read_corefile(lab)
    mirror_lab.up()
    lab.apply(build_deployment("keeps", "chronicle", WORKLOAD_IMAGE, ["sleep", "3600"]))
    spec = mirror_lab.get("deployment", "keeps", "chronicle")["spec"]["template"]["spec"]
    for argv in (
        ("env", "--publish", "chronicle"),
        ("attach", "deployment/keeps", "-n", "chronicle", "--yes"),
        ("fix", "dns", "--keep", "--yes", "--timeout", "7m"),
    ):
        done = mirror_lab.run_mirror(*argv, timeout=420)
        assert done.returncode == 0, done.stderr
    assert coredns.read_corefile(lab) != corefile
    preview = mirror_lab.run_mirror("uninstall", "--dry-run")
    assert preview.returncode == 0, preview.stderr
    for text in ("ConfigMap kube-system/coredns", "Deployment", "chronicle", "pypi-mirror-keeper"):
        assert text in preview.stdout
    removed = mirror_lab.run_mirror("uninstall", "--yes", timeout=600)
    assert removed.returncode == 0, removed.stderr
    assert "nothing of the mirror is left in the cluster" in removed.stdout
    assert coredns.read_corefile(lab) == corefile
    restored = mirror_lab.get("deployment", "keeps", "chronicle")["spec"]["template"]["spec"]
    assert restored == spec
    wait_for("nothing of ours is left", lambda: lab.kubectl(*OURS) == "", timeout=60)
    again = mirror_lab.run_mirror("uninstall")
    assert (again.returncode, again.stderr) == (0, "")
    lab.kubectl("-n", "chronicle", "delete", "deployment", "keeps")
