"""Render an application as Deployments, one for each of its start commands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from deploy.manifests.model import NAME, Object
from images.application_recipe import ApplicationRecipe, StartCommand

# annotation of pods: digests of the image that was proved to start without a network
PROOF_ANNOTATION = f"{NAME}/proof"
_NAME_LABEL = "app.kubernetes.io/name"
_COMPONENT_LABEL = "app.kubernetes.io/component"


def render_application(
    recipe: ApplicationRecipe,
    image: str,
    proved_digests: tuple[str, ...],
    mounts: Mapping[str, str] | None = None,
) -> list[Object]:
    """Render a Deployment for each start command, and a Service for each one with a port.

    ``proved_digests`` are the digests by which nodes may name the image; () if it was not proved.
    The variables that the application needs at its start come from a Secret named like the recipe,
    the files in ``mounts`` (path in the image → where the proof had it from) from a ConfigMap.
    """
    objects: list[Object] = []
    for start in recipe.starts:
        labels = {
            _NAME_LABEL: _to_object_name(recipe.name),
            _COMPONENT_LABEL: _to_object_name(start.name),
        }
        metadata = {"name": _to_object_name(f"{recipe.name}-{start.name}"), "labels": labels}
        template = _render_template(recipe, start, image, labels)
        if mounts:
            _mount_files(template["spec"], mounts, name_config_map(recipe))
        if proved_digests:
            template["metadata"]["annotations"] = {PROOF_ANNOTATION: " ".join(proved_digests)}
        spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
        deployment = {"apiVersion": "apps/v1", "kind": "Deployment"}
        objects.append({**deployment, "metadata": metadata, "spec": spec})
        if start.port:
            port = {"name": "http", "port": start.port, "targetPort": start.port}
            service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata}
            objects.append({**service, "spec": {"selector": labels, "ports": [port]}})
    return objects


def _render_template(
    recipe: ApplicationRecipe, start: StartCommand, image: str, labels: dict[str, str]
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
    return {
        "metadata": {"labels": labels},
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


def name_config_map(recipe: ApplicationRecipe) -> str:
    """Return the name of the ConfigMap that has the files of an application."""
    return f"{_to_object_name(recipe.name)[:57]}-files"


def list_config_keys(mounts: Mapping[str, str]) -> dict[str, str]:
    """Return the key in the ConfigMap of each file: its name, or its path if names repeat."""
    names = [PurePosixPath(path).name for path in mounts]
    return {
        path: re.sub(r"[^A-Za-z0-9._-]+", "_", name if names.count(name) == 1 else path.strip("/"))
        for path, name in zip(mounts, names, strict=True)
    }


def _mount_files(spec: Object, mounts: Mapping[str, str], config_map: str) -> None:
    """Add a volume of a ConfigMap's keys, each mounted as one file."""
    keys = list_config_keys(mounts)
    spec["volumes"] = [{"name": "files", "configMap": {"name": config_map}}]
    for container in spec["containers"]:
        container["volumeMounts"] = [
            {"name": "files", "mountPath": path, "subPath": key, "readOnly": True}
            for path, key in keys.items()
        ]


def _to_object_name(text: str) -> str:
    """A name that Kubernetes accepts: recipes may be called my_app, start commands Web."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].rstrip("-")
