"""Render the reconciler's objects: a Deployment whose account may patch the fixed objects only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from deploy.manifests.agent import RECONCILER_NAME, SYSTEM_NAMESPACE
from deploy.manifests.model import ClusterSettings, Object, build_labels, new_object
from deploy.manifests.pods import render_container, render_pod_spec, render_pull_secrets
from mirror.agent.reconcile import ENABLED_MARKER

RECONCILER_COMPONENT = "keeper"
_RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciledObject:
    """One object that the reconciler keeps fixed, or only compares if ``is_watched``."""

    title: str  # for messages
    ledger_entry: str  # name of its ConfigMap in the ledger
    path: str  # in the Kubernetes API
    group: str
    plural: str
    name: str
    namespace: str | None  # None: cluster-wide
    is_watched: bool = False

    @property
    def option(self) -> tuple[str, str]:
        """The reconciler's option for this object, and its value."""
        name = "--watch" if self.is_watched else "--page"
        return name, f"{self.ledger_entry}={self.path}"


def render_reconciler_objects(
    image: str,
    targets: Sequence[ReconciledObject],
    *,
    image_is_0_1: bool = False,
    pull_secret: str | None = None,
) -> tuple[Object, ...]:
    """Render the marker for the node agents, the account, its permissions and the Deployment.

    ``image_is_0_1``: the image has the module names of version 0.1, see `image_versions`.
    ``pull_secret`` is in kube-system too.
    They are in the order of application. If all targets are on nodes, the Deployment has no
    replicas; it still records that the reconciler is installed.
    """
    marker, account = (
        _new_object("v1", kind, SYSTEM_NAMESPACE) for kind in ("ConfigMap", "ServiceAccount")
    )
    return (
        marker | {"data": {ENABLED_MARKER.name: "their agents keep\n"}},
        account | {"automountServiceAccountToken": False},
        *_render_roles(targets),
        _render_deployment(image, targets, image_is_0_1, pull_secret),
    )


def read_options(deployment: Object) -> set[tuple[str, str]]:
    """The options about objects in the command of the reconciler's Deployment."""
    command = deployment["spec"]["template"]["spec"]["containers"][0]["command"]
    return {(name, value) for name, value in pairwise(command) if name in {"--page", "--watch"}}


def _render_roles(targets: Sequence[ReconciledObject]) -> Iterable[Object]:
    """A Role and its binding for each namespace with targets, a ClusterRole for the others.

    Events about cluster-wide objects belong to the namespace `default`.
    """
    namespaces = sorted({SYSTEM_NAMESPACE, *(target.namespace or "default" for target in targets)})
    for namespace in namespaces:
        rules = list(_build_rules(each for each in targets if each.namespace == namespace))
        if namespace == SYSTEM_NAMESPACE:
            entries = sorted(target.ledger_entry for target in targets)
            rules.insert(0, _build_rule("", "configmaps", ["get"], entries))
        rules.append(_build_rule("", "events", ["create"]))
        yield _new_object(f"{_RBAC}/v1", "Role", namespace) | {"rules": rules}
        yield _render_binding("Role", namespace)
    rules = list(_build_rules(target for target in targets if target.namespace is None))
    if rules:
        yield _new_object(f"{_RBAC}/v1", "ClusterRole", None) | {"rules": rules}
        yield _render_binding("ClusterRole", None)


def _build_rules(targets: Iterable[ReconciledObject]) -> Iterable[Object]:
    names_by_right: dict[tuple[str, str, bool], set[str]] = {}
    for target in targets:
        right = (target.group, target.plural, target.is_watched)
        names_by_right.setdefault(right, set()).add(target.name)
    for (group, plural, is_watched), names in sorted(names_by_right.items()):
        yield _build_rule(group, plural, ["get"] if is_watched else ["get", "patch"], sorted(names))


def _build_rule(
    group: str, plural: str, verbs: list[str], names: list[str] | None = None
) -> Object:
    rule: dict[str, Any] = {"apiGroups": [group], "resources": [plural], "verbs": verbs}
    return rule | ({"resourceNames": names} if names else {})


def _render_binding(kind: str, namespace: str | None) -> Object:
    subject = {"kind": "ServiceAccount", "name": RECONCILER_NAME, "namespace": SYSTEM_NAMESPACE}
    return _new_object(f"{_RBAC}/v1", f"{kind}Binding", namespace) | {
        "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": RECONCILER_NAME},
        "subjects": [subject],
    }


def _render_deployment(
    image: str, targets: Sequence[ReconciledObject], image_is_0_1: bool, pull_secret: str | None
) -> Object:
    # version 0.1 does not know --watch, and its rights do not allow more than this one's
    known = [target for target in targets if not (image_is_0_1 and target.is_watched)]
    options = [word for target in known for word in target.option]
    command = ["python3", "-m", "mirror.reconciler", *options]
    settings = ClusterSettings(image=image, image_is_0_1=image_is_0_1)
    container = render_container(
        RECONCILER_COMPONENT, settings, command, memory="96Mi", cpu="100m", requests=("5m", "24Mi")
    )
    spec = render_pod_spec(containers=[container], grace_seconds=5)
    spec |= {"serviceAccountName": RECONCILER_NAME, "automountServiceAccountToken": True}
    spec |= render_pull_secrets(pull_secret)
    labels = build_labels(RECONCILER_COMPONENT)
    return _new_object("apps/v1", "Deployment", SYSTEM_NAMESPACE) | {
        "spec": {
            "replicas": 1 if known else 0,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        }
    }


def _new_object(api_version: str, kind: str, namespace: str | None) -> Object:
    return new_object(api_version, kind, RECONCILER_NAME, namespace, component=RECONCILER_COMPONENT)
