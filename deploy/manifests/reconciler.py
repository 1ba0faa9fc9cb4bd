"""The keeper's objects: an account that may patch what is kept, by name, and nothing else. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from deploy.manifests.agent import RECONCILER_NAME, SYSTEM_NAMESPACE
from deploy.manifests.model import Object, build_labels, new_object
from deploy.manifests.pods import render_pod_spec
from mirror.agent.reconcile import ENABLED_MARKER

RECONCILER_COMPONENT = "keeper"
_RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciledObject:
    """One object: its page of the ledger, its path in the API, and what the rights call it."""

    title: str  # for people
    ledger_entry: str
    path: str
    group: str
    plural: str
    name: str
    namespace: str | None  # None: it is in none

    @property
    def argument(self) -> str:
        """What the keeper is told of it, behind --page."""
        return f"{self.ledger_entry}={self.path}"


def render_reconciler_objects(
    image: str, targets: Sequence[ReconciledObject]
) -> tuple[Object, ...]:
    """The account, its rights, the nodes' mark, and the Deployment, in the order of application.

    The Deployment says that there is a keeper, also where all that is kept is on nodes: it has no
    pod then.
    """
    return (
        _labelled("v1", "ConfigMap", SYSTEM_NAMESPACE)
        | {"data": {ENABLED_MARKER.name: "their agents keep\n"}},
        _labelled("v1", "ServiceAccount", SYSTEM_NAMESPACE)
        | {"automountServiceAccountToken": False},
        *_rights(targets),
        _deployment(image, targets),
    )


def _rights(kept: Sequence[ReconciledObject]) -> Iterable[Object]:
    """A Role for each namespace that has something kept, and one for what is in none.

    Events on what is in no namespace have to stand in `default`.
    """
    spaces = sorted({SYSTEM_NAMESPACE, *(one.namespace or "default" for one in kept)})
    for space in spaces:
        rules = list(_rules(one for one in kept if one.namespace == space))
        if space == SYSTEM_NAMESPACE:
            pages = sorted(one.ledger_entry for one in kept)
            rules.insert(0, _rule("", "configmaps", ["get"], pages))
        rules.append(_rule("", "events", ["create"]))
        yield _labelled(f"{_RBAC}/v1", "Role", space) | {"rules": rules}
        yield _binding("Role", space)
    rules = list(_rules(one for one in kept if one.namespace is None))
    if rules:
        yield _labelled(f"{_RBAC}/v1", "ClusterRole", None) | {"rules": rules}
        yield _binding("ClusterRole", None)


def _rules(kept: Iterable[ReconciledObject]) -> Iterable[Object]:
    found: dict[tuple[str, str], set[str]] = {}
    for one in kept:
        found.setdefault((one.group, one.plural), set()).add(one.name)
    for (group, plural), names in sorted(found.items()):
        yield _rule(group, plural, ["get", "patch"], sorted(names))


def _rule(group: str, plural: str, verbs: list[str], names: list[str] | None = None) -> Object:
    rule: dict[str, Any] = {"apiGroups": [group], "resources": [plural], "verbs": verbs}
    return rule | ({"resourceNames": names} if names else {})


def _binding(kind: str, namespace: str | None) -> Object:
    subject = {"kind": "ServiceAccount", "name": RECONCILER_NAME, "namespace": SYSTEM_NAMESPACE}
    return _labelled(f"{_RBAC}/v1", f"{kind}Binding", namespace) | {
        "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": RECONCILER_NAME},
        "subjects": [subject],
    }


def _deployment(image: str, kept: Sequence[ReconciledObject]) -> Object:
    pages = [word for one in kept for word in ("--page", one.argument)]
    container: Object = {
        "name": RECONCILER_COMPONENT,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-m", "mirror.reconciler", *pages],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {
            "requests": {"cpu": "5m", "memory": "24Mi"},
            "limits": {"cpu": "100m", "memory": "96Mi"},
        },
    }
    spec = render_pod_spec(containers=[container], init_containers=[], volumes=[], grace_seconds=5)
    spec |= {"serviceAccountName": RECONCILER_NAME, "automountServiceAccountToken": True}
    chosen = build_labels(RECONCILER_COMPONENT)
    return _labelled("apps/v1", "Deployment", SYSTEM_NAMESPACE) | {
        "spec": {
            "replicas": 1 if kept else 0,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": chosen},
            "template": {"metadata": {"labels": chosen}, "spec": spec},
        }
    }


def _labelled(api_version: str, kind: str, namespace: str | None) -> Object:
    made = new_object(api_version, kind, RECONCILER_NAME, namespace or "")
    made["metadata"]["labels"] = build_labels(RECONCILER_COMPONENT)
    if namespace is None:
        del made["metadata"]["namespace"]
    return made


def read_targets(deployment: Object) -> set[str]:
    """What the keeper of this Deployment was told to keep."""
    words = deployment["spec"]["template"]["spec"]["containers"][0]["command"]
    return {word for option, word in pairwise(words) if option == "--page"}
