"""Render the mirror's objects as a kustomize base: one file for each object."""

from __future__ import annotations

from collections.abc import Iterable

from deploy.manifests.model import NAME, Object
from deploy.manifests.yaml_text import render_yaml

KUSTOMIZATION = "kustomization.yaml"


def render_base(objects: Iterable[Object]) -> dict[str, str]:
    """Return the files of the base by name. Overlays change its namespace, image and settings."""
    files = {get_file_name(obj): render_yaml([obj]) for obj in objects}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": list(files),
    }
    return {KUSTOMIZATION: render_yaml([kustomization]), **files}


def get_file_name(obj: Object) -> str:
    """Return the name of the file with this object, such as persistentvolumeclaim-data.yaml."""
    kind, name = obj["kind"].lower(), obj["metadata"]["name"]
    is_part = obj["kind"] != "Namespace" and name != NAME
    return f"{kind}-{name.removeprefix(f'{NAME}-')}.yaml" if is_part else f"{kind}.yaml"
