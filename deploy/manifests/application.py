"""A baked application as Deployments, one for each of its start commands. Pure."""

from __future__ import annotations

import re

from deploy.manifests.model import NAME, Object
from images.application_recipe import ApplicationRecipe, StartCommand

PROOF_ANNOTATION = (
    f"{NAME}/proof"  # annotation of pods: digests of the image that was proved to start alone
)
_APP = "app.kubernetes.io/name"
_PART = "app.kubernetes.io/component"


def render_application(
    recipe: ApplicationRecipe, image: str, proved_digests: tuple[str, ...]
) -> list[Object]:
    """Deployments, and a Service for each start that has a port.

    ``proved``: digests by which nodes may name the image, () for one that was not proved. What the
    application asks for before it starts comes from a Secret of the recipe's name.
    """
    found: list[Object] = []
    for start in recipe.starts:
        found.append(_deployment(recipe, start, image, proved_digests))
        if start.port:
            found.append(_service(recipe, start))
    return found


def _deployment(
    recipe: ApplicationRecipe, start: StartCommand, image: str, proved: tuple[str, ...]
) -> Object:
    container: Object = {
        "name": _word(start.name),
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(start.argv),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    if start.environment:
        container["env"] = [{"name": k, "value": v} for k, v in start.environment.items()]
    if recipe.proof_environment:
        container["envFrom"] = [{"secretRef": {"name": _word(recipe.name)}}]
    if start.health:
        asked = {"httpGet": {"path": start.health, "port": start.port}, "periodSeconds": 1}
        container |= {
            "ports": [{"name": "http", "containerPort": start.port}],
            "startupProbe": asked | {"failureThreshold": max(1, int(start.seconds))},
            "readinessProbe": asked | {"periodSeconds": 5, "timeoutSeconds": 3},
        }
    template: Object = {
        "metadata": {"labels": _labels(recipe, start)},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": recipe.user_id,
                "runAsGroup": recipe.user_id,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        },
    }
    if proved:
        template["metadata"]["annotations"] = {PROOF_ANNOTATION: " ".join(proved)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _meta(recipe, start),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": _labels(recipe, start)},
            "template": template,
        },
    }


def _service(recipe: ApplicationRecipe, start: StartCommand) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _meta(recipe, start),
        "spec": {
            "selector": _labels(recipe, start),
            "ports": [{"name": "http", "port": start.port, "targetPort": start.port}],
        },
    }


def _meta(recipe: ApplicationRecipe, start: StartCommand) -> Object:
    return {"name": _word(f"{recipe.name}-{start.name}"), "labels": _labels(recipe, start)}


def _labels(recipe: ApplicationRecipe, start: StartCommand) -> dict[str, str]:
    return {_APP: _word(recipe.name), _PART: _word(start.name)}


def _word(text: str) -> str:
    """A name that Kubernetes takes: recipes may be called my_app, starts Web."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].rstrip("-")
