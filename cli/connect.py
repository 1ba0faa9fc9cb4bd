"""Connect to the cluster that the shared options name."""

from __future__ import annotations

from cli.options import ClusterOptions
from deploy.cluster.client import Cluster
from mirror.core.wait import Deadline
from mirror.settings import check_dns_label


def connect(target: ClusterOptions) -> Cluster:
    """Return the cluster of the chosen context, with the deadline of the command."""
    check_dns_label(target.namespace, "namespace")
    return Cluster.connect(
        kubeconfig=target.kubeconfig,
        context=target.context,
        deadline=Deadline.after(target.timeout),
    )
