"""The image of the node agent and the reconciler, recorded where only administrators write.

`mirror up` records the image that it was given or has built, with the digests that the nodes report
for it, in an annotation of the Namespace kube-system. Whoever may edit the mirror's own namespace
can neither write there nor choose this image. `mirror fix --image REF` overrides it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.node_images import normalize_reference
from deploy.cluster.objects import get_image
from deploy.manifests.agent import AGENT_NAME, SYSTEM_NAMESPACE
from mirror.core.progress import Progress

ANNOTATION = "pypi-mirror/node-agent-image"
IDS_ANNOTATION = "pypi-mirror/image-ids"  # of the DaemonSet, for an image that is not recorded


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentImage:
    """An image. ``ids`` are its digests on the nodes; empty if they were never seen.

    ``origin`` says where it comes from, for people.
    """

    reference: str
    ids: tuple[str, ...] = ()
    origin: str = ""

    def describe(self) -> str:
        """Return the reference with what is known about its digest."""
        return " ".join([self.reference, *(f"({digest})" for digest in self.ids)])


def read_agent_image(cluster: Cluster) -> AgentImage | None:
    """Return the recorded image; None if there is none, or it cannot be read."""
    try:
        record = _read_record(cluster)
        reference, ids, mirror = record["image"], tuple(map(str, record["ids"])), record["mirror"]
    except (ApiError, KeyError, TypeError, ValueError):
        return None
    if not isinstance(reference, str):
        return None
    return AgentImage(reference=reference, ids=ids, origin=f"recorded by mirror up in {mirror}")


def choose_agent_image(cluster: Cluster, given: str | None) -> AgentImage | None:
    """Return the image to start node agents from: the given, the recorded, or the running one.

    The image of the mirror's own pods is never used: whoever may edit the mirror's namespace can
    change it.
    """
    if given:
        return AgentImage(reference=normalize_reference(given), origin="given by --image")
    recorded = read_agent_image(cluster)
    if recorded:
        return recorded
    try:
        daemon_set = cluster.get("DaemonSet", AGENT_NAME, SYSTEM_NAMESPACE)
    except ApiError:
        return None
    if daemon_set is None:
        return None
    ids = read_expected_ids(cluster, daemon_set)
    origin = "of the node agent that runs now"
    return AgentImage(reference=get_image(daemon_set), ids=ids, origin=origin)


def record_agent_image(
    cluster: Cluster,
    reference: str,
    ids: Iterable[str],
    mirror_namespace: str,
    pull_secret: str | None = None,
) -> None:
    """Record an image that whoever runs this command has named or built. Raises ApiError."""
    record: dict[str, object] = {"image": reference, "ids": sorted(set(ids))}
    record["mirror"] = mirror_namespace
    if pull_secret:
        record["pull_secret"] = pull_secret
    _annotate(cluster, json.dumps(record))


def read_pull_secret(cluster: Cluster) -> str | None:
    """Return the Secret in kube-system for images of a registry that asks for a login."""
    try:
        secret = _read_record(cluster)["pull_secret"]
    except (ApiError, KeyError, TypeError, ValueError):
        return None
    return secret if isinstance(secret, str) else None


def explain_pull_secret(cluster: Cluster, progress: Progress) -> None:
    """Say how to create the Secret in kube-system, if it is needed and not there.

    Our pods there cannot use the one in the mirror's namespace.
    """
    name = read_pull_secret(cluster)
    with suppress(ApiError):  # whoever may not read it is not bothered
        if name and cluster.get("Secret", name, SYSTEM_NAMESPACE) is None:
            progress.note(
                f"there is no Secret {name} in {SYSTEM_NAMESPACE}: nodes without the image cannot "
                f"pull it there. kubectl -n {SYSTEM_NAMESPACE} create secret docker-registry "
                f"{name} --docker-server=REGISTRY --docker-username=USER --docker-password=PASSWORD"
            )


def forget_agent_image(cluster: Cluster, mirror_namespace: str) -> None:
    """Remove the record that `mirror up` made for the mirror in this namespace."""
    try:
        if _read_record(cluster)["mirror"] == mirror_namespace:
            _annotate(cluster, None)
    except (ApiError, KeyError, TypeError, ValueError):
        return


def read_expected_ids(cluster: Cluster, daemon_set: Object) -> tuple[str, ...]:
    """Return the digests that the pods of a DaemonSet may have; empty if none are known.

    A reference with a digest needs no others: the kubelet starts nothing else.
    """
    reference = get_image(daemon_set)
    if "@" in reference:
        return ()
    recorded = read_agent_image(cluster)
    if recorded and recorded.reference == reference and recorded.ids:
        return recorded.ids
    text = _get_annotations(daemon_set).get(IDS_ANNOTATION, "")
    seen_reference, _, ids = text.partition(" ")
    return tuple(ids.split()) if seen_reference == reference else ()


def render_seen_ids(reference: str, ids: Iterable[str]) -> dict[str, str]:
    """Return the annotation of a DaemonSet that keeps the digests of its first start."""
    return {IDS_ANNOTATION: " ".join([reference, *sorted(set(ids))])}


def _read_record(cluster: Cluster) -> Any:
    """Return the record as JSON. Raises KeyError or ValueError if there is none."""
    return json.loads(_get_annotations(cluster.get("Namespace", SYSTEM_NAMESPACE))[ANNOTATION])


def _get_annotations(obj: Object | None) -> dict[str, str]:
    return (obj or {}).get("metadata", {}).get("annotations") or {}


def _annotate(cluster: Cluster, value: str | None) -> None:
    body = {"metadata": {"annotations": {ANNOTATION: value}}}
    cluster.patch("Namespace", SYSTEM_NAMESPACE, None, body)
