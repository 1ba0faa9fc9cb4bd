"""The pod network: Calico on each node, its conflist, and whether the nodes use it."""

from __future__ import annotations

from deploy.checks.cni import calico_node, conflist, pod_start
from deploy.evidence.model import Need
from deploy.findings.model import DoctorCheck

CATEGORY = "cni"
RANK = 60  # its position in the report

_CALICO = frozenset({Need.CALICO})

CHECKS = (
    DoctorCheck(
        id="cni.pods",
        fact="Calico is Ready on every node it runs on",
        needs=_CALICO,
        find=pod_start.check_calico_pods,
    ),
    DoctorCheck(
        id="cni.sandbox",
        fact="no pod waits for its network",
        needs=frozenset({Need.WARNING_EVENTS, Need.WORKLOADS}),
        find=pod_start.check_sandbox,
    ),
    DoctorCheck(
        id="cni.conflist",
        fact="the CNI configuration is valid",
        needs=_CALICO,
        find=conflist.check_conflist,
    ),
    DoctorCheck(
        id="cni.drift",
        fact="new pods match the CNI configuration",
        needs=_CALICO | {Need.POD_DNS},
        find=conflist.check_drift,
    ),
    DoctorCheck(
        id="cni.felix",
        fact="Felix and the address pools agree on IPv6",
        needs=_CALICO | {Need.IP_POOLS},
        find=calico_node.check_felix,
    ),
    DoctorCheck(
        id="cni.autodetect",
        fact="calico-node finds the addresses it looks for",
        needs=_CALICO | {Need.NODES},
        find=calico_node.check_autodetect,
    ),
)
