"""Render an application as Deployments, one for each of its start commands."""

from __future__ import annotations

import re

from deploy.manifests.model import NAME, Object
from images.application_recipe import ApplicationRecipe, StartCommand

# annotation of pods: digests of the image that was proved to start without a network
PROOF_ANNOTATION = f"{NAME}/proof"
_NAME_LABEL = "app.kubernetes.io/name"
_COMPONENT_LABEL = "app.kubernetes.io/component"


def render_application(
    recipe: ApplicationRecipe, image: str, proved_digests: tuple[str, ...]
) -> list[Object]:
    """Render a Deployment for each start command, and a Service for each one with a port.

    ``proved_digests`` are the digests by which nodes may name the image; () if it was not proved.
    The variables that the application needs at its start come from a Secret named like the recipe.
    """
    objects: list[Object] = []
    for start in recipe.starts:
        objects.append(_render_deployment(recipe, start, image, proved_digests))
        if start.port:
            objects.append(_render_service(recipe, start))
    return objects


def _render_deployment(
    recipe: ApplicationRecipe, start: StartCommand, image: str, proved_digests: tuple[str, ...]
) -> Object:
    container: Object = {
        "name": _to_object_name(start.name),
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(start.argv),
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    if start.environment:
        container["env"] = [{"name": k, "value": v} for k, v in start.environment.items()]
    if recipe.proof_environment:
        container["envFrom"] = [{"secretRef": {"name": _to_object_name(recipe.name)}}]
    if start.health:
        probe = {"httpGet": {"path": start.health, "port": start.port}, "periodSeconds": 1}
        container |= {
            "ports": [{"name": "http", "containerPort": start.port}],
            "startupProbe": probe | {"failureThreshold": max(1, int(start.seconds))},
            "readinessProbe": probe | {"periodSeconds": 5, "timeoutSeconds": 3},
        }
    template: Object = {
        "metadata": {"labels": _build_labels(recipe, start)},
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
    if proved_digests:
        template["metadata"]["annotations"] = {PROOF_ANNOTATION: " ".join(proved_digests)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _build_metadata(recipe, start),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": _build_labels(recipe, start)},
            "template": template,
        },
    }


def _render_service(recipe: ApplicationRecipe, start: StartCommand) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _build_metadata(recipe, start),
        "spec": {
            "selector": _build_labels(recipe, start),
            "ports": [{"name": "http", "port": start.port, "targetPort": start.port}],
        },
    }


def _build_metadata(recipe: ApplicationRecipe, start: StartCommand) -> Object:
    name = _to_object_name(f"{recipe.name}-{start.name}")
    return {"name": name, "labels": _build_labels(recipe, start)}


def _build_labels(recipe: ApplicationRecipe, start: StartCommand) -> dict[str, str]:
    return {
        _NAME_LABEL: _to_object_name(recipe.name),
        _COMPONENT_LABEL: _to_object_name(start.name),
    }


def _to_object_name(text: str) -> str:
    """A name that Kubernetes accepts: recipes may be called my_app, start commands Web."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].rstrip("-")
