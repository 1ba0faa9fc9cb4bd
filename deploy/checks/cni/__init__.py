"""The pod network: Calico on each node, its conflist, and whether the nodes use it."""

from __future__ import annotations

from deploy.checks.cni import calico_node, conflist, pod_start

CATEGORY = "cni"
RANK = 60  # its position in the report

CHECKS = (
    pod_start.check_calico_pods,
    pod_start.check_sandbox,
    conflist.check_conflist,
    conflist.check_drift,
    calico_node.check_felix,
    calico_node.check_autodetect,
)
