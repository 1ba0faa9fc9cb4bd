"""Install a package from the mirror in a pod on every node."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from deploy.cluster.client import Cluster, Object
from deploy.cluster.objects import get_name
from deploy.cluster.pod_run import run_pods
from deploy.manifests.model import NAME, ClusterSettings
from deploy.manifests.pods import render_probe_pod
from mirror.core.errors import UnfitError
from mirror.core.progress import Progress

_SECONDS = 120.0
_INSTALL = (
    *("/opt/probe/uv", "pip", "install", "--no-cache", "--no-deps", "--target", "/tmp/out"),
    *("--python", "/opt/mirror/bin/python3"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeProbe:
    """Whether a pod on this node could install a package from the mirror.

    ``image_id`` is the digest that this node has for the mirror's image.
    """

    node: str
    ok: bool
    why: str = ""
    image_id: str = ""


def probe_nodes(
    cluster: Cluster,
    settings: ClusterSettings,
    nodes: Sequence[Object],
    index_url: str,
    package: str,
    progress: Progress,
) -> tuple[NodeProbe, ...]:
    """Install one package with the static musl build of uv from a new pod on each node.

    Raises UnfitError that names the nodes where it failed and why.
    """
    progress.step(f"install {package} from a pod on each node")
    token = secrets.token_hex(3)
    pods = [
        render_probe_pod(
            settings,
            name=f"{NAME}-probe-{token}-{number}",
            node=get_name(node),
            command=[*_INSTALL, "--default-index", index_url, package],
        )
        for number, node in enumerate(nodes)
    ]
    deadline = cluster.deadline.within(_SECONDS)
    runs = run_pods(cluster, pods, deadline, lambda done: progress.count(done, len(pods)))
    failures = {run.node: run.why or run.output.strip()[-600:] for run in runs if not run.succeeded}
    if failures:
        raise UnfitError(
            f"the mirror runs, but pods cannot install from it on {', '.join(failures)}",
            why="\n".join(f"{node}: {why}" for node, why in failures.items()),
            next_step="fix the cause above and run `mirror up` again; `mirror doctor` may help",
        )
    return tuple(
        # somebody may have given the pod another image meanwhile
        NodeProbe(
            node=run.node, ok=True, image_id=run.image_id if run.image == settings.image else ""
        )
        for run in runs
    )
