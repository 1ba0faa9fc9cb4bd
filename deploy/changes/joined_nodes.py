"""Nodes that joined after a fix: what calico-node wrote there came from a template with the fix."""

from __future__ import annotations

from collections.abc import Sequence

from deploy.changes.cni_targets import CONFIG_MAP, find_active_conflist
from deploy.changes.engine import ChangeEngine
from deploy.changes.model import ConfigMapKey, NodeFile
from deploy.changes.update import TargetUpdate
from deploy.cluster.client import Cluster
from deploy.evidence.hosts import read_hosts
from deploy.evidence.nodes import read_nodes
from deploy.evidence.unseen import Unseen
from mirror.core.progress import SILENT


def plan_joined_nodes(
    cluster: Cluster, works: ChangeEngine, steps: Sequence[TargetUpdate]
) -> list[TargetUpdate]:
    """Where the template goes back: the files of nodes that are not in the ledger, as well."""
    above = next((step for step in steps if _is_template(step)), None)
    if above is None:
        return []
    known = {entry.target for entry in works.entries()}
    hosts = read_hosts(cluster, None, read_nodes(cluster), SILENT)
    made = []
    for one in () if isinstance(hosts, Unseen) else hosts:
        used = None if isinstance(one.view, Unseen) else find_active_conflist(one.view)
        if used and (target := NodeFile(node=one.node, path=used.path)) not in known:
            made.append(works.plan_template_change(above, target))
    return [step for step in made if step.changes_target]


def _is_template(step: TargetUpdate) -> bool:
    return isinstance(step.target, ConfigMapKey) and step.target.name == CONFIG_MAP
