"""What starts pods' networks: Calico on each node, its conflist, and whether nodes follow it."""

from __future__ import annotations

from deploy.checks.cni import agent, files, start
from deploy.evidence.model import Check, Need

CATEGORY = "cni"
RANK = 60  # where it stands in the report

_CALICO = frozenset({Need.CALICO})

CHECKS = (
    Check(
        id="cni.pods",
        fact="Calico is ready on every node it runs on",
        needs=_CALICO,
        look=start.pods,
    ),
    Check(
        id="cni.sandbox",
        fact="no pod waits for its network",
        needs=frozenset({Need.WARNED, Need.WORKLOADS}),
        look=start.sandbox,
    ),
    Check(
        id="cni.conflist",
        fact="the CNI configuration can be read",
        needs=_CALICO,
        look=files.conflist,
    ),
    Check(
        id="cni.drift",
        fact="new pods have what the CNI configuration says",
        needs=_CALICO | {Need.POD_DNS},
        look=files.drift,
    ),
    Check(
        id="cni.felix",
        fact="Felix and the address pools agree on IPv6",
        needs=_CALICO | {Need.IP_POOLS},
        look=agent.felix,
    ),
    Check(
        id="cni.autodetect",
        fact="calico-node finds the addresses it looks for",
        needs=_CALICO | {Need.NODES},
        look=agent.autodetect,
    ),
)
