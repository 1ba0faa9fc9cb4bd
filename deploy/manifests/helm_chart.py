"""Render the mirror's objects as a Helm chart.

The templates are not written by hand: the objects are rendered with a marker as the value of each
setting, and again without each setting that may be omitted. A marker becomes a reference to a
value, and what is missing without a setting becomes conditional.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import indent
from typing import Any

from deploy.manifests.helm_template import HelmTemplate
from deploy.manifests.kustomize import get_file_name
from deploy.manifests.mirror_objects import render_objects
from deploy.manifests.model import NAME, ClusterSettings, Object
from deploy.manifests.optional_parts import find_optional_parts
from deploy.manifests.yaml_text import render_yaml
from mirror.version import VERSION

CHART_FILE = "Chart.yaml"
_NAMESPACE = ".Values.namespace | default .Release.Namespace | quote"
_CREATE_NAMESPACE = ".Values.createNamespace"
_LINK_LOCAL = "169.254.0.0/16"
_EXCLUDED = f'append .Values.clusterCIDRs "{_LINK_LOCAL}" | uniq | sortAlpha'
_JSON_TYPES = {str: "string", int: "integer", bool: "boolean"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _ChartValue:
    """A setting as a value of the chart; its ``marker`` stands for it in the rendered objects."""

    setting: str
    value: str  # its path below .Values
    marker: str | int
    comment: str
    if_omitted: str | int | None = None  # what values.yaml says; None: it cannot be omitted

    @property
    def reference(self) -> str:
        if isinstance(self.marker, int):
            return f"int .Values.{self.value}"
        return f".Values.{self.value} | quote"


_VALUES = (
    _ChartValue(
        setting="image",
        value="image",
        marker="marker.invalid/image:1",
        comment="Image that the nodes can pull; `build-image mirror` builds it",
    ),
    _ChartValue(
        setting="upstream",
        value="upstream",
        marker="https://marker.invalid/simple/",
        comment="Index to mirror; empty: the public one",
        if_omitted="",
    ),
    _ChartValue(
        setting="size",
        value="storage.size",
        marker="987Gi",
        comment="Size of the volume",
    ),
    _ChartValue(
        setting="storage_class",
        value="storage.className",
        marker="marker-class",
        comment="Empty: the cluster's default",
        if_omitted="",
    ),
    _ChartValue(
        setting="cluster_ip",
        value="service.clusterIP",
        marker="203.0.113.254",
        comment="IPv4 address; empty: the cluster chooses",
        if_omitted="",
    ),
    _ChartValue(
        setting="node_port",
        value="service.nodePort",
        marker=32123,
        comment="Also serve on this port of every node; 0: do not",
        if_omitted=0,
    ),
    _ChartValue(
        setting="node",
        value="node",
        marker="marker-node",
        comment="Run on this node; empty: any",
        if_omitted="",
    ),
    _ChartValue(
        setting="pull_secret",
        value="pullSecret",
        marker="marker-secret",
        comment="Secret of the registry that has the image; empty: none",
        if_omitted="",
    ),
)


def render_chart(settings: ClusterSettings) -> dict[str, str]:
    """Return the files of the chart by path. The settings become the defaults of its values.

    Port, CA certificates and monitoring are not values: they are parts of the templates.
    """
    markers: dict[str, Any] = {each.setting: each.marker for each in _VALUES}
    objects = render_objects(replace(settings, **markers))
    values = _list_values(settings, objects)
    files = {
        CHART_FILE: render_yaml([_render_metadata()]),
        "values.yaml": _render_values(values),
        "values.schema.json": json.dumps(_render_schema(values), indent=2) + "\n",
        "templates/NOTES.txt": _render_notes(settings.port),
    }
    templates = [HelmTemplate(obj) for obj in objects]
    for each in _VALUES:
        if each.if_omitted is not None:
            omitted = render_objects(replace(settings, **{**markers, each.setting: None}))
            for template, obj in zip(templates, omitted, strict=True):
                parts = find_optional_parts(template.obj, obj)
                template.make_conditional(f".Values.{each.value}", parts)
    for template in templates:
        _insert_values(template)
        files[f"templates/{get_file_name(template.obj)}"] = template.render()
    return files


def _insert_values(template: HelmTemplate) -> None:
    """Refer to values where the object has markers, its namespace, resources or ranges."""
    for each in _VALUES:
        template.replace_scalar(each.marker, each.reference)
    if template.obj["kind"] == "Namespace":
        template.replace_at(("metadata", "name"), _NAMESPACE)
        template.condition = _CREATE_NAMESPACE
        return
    template.replace_at(("metadata", "namespace"), _NAMESPACE)
    for path, container in _list_containers(template.obj):
        template.replace_block((*path, "resources"), f".Values.resources.{container['name']}")
    for path in template.find_keys("except"):
        template.replace_block(path, _EXCLUDED)


def _list_containers(obj: Object) -> list[tuple[tuple[str | int, ...], Object]]:
    """Return the containers of an object's pod, and where they are."""
    if obj["kind"] != "StatefulSet":
        return []
    path = ("spec", "template", "spec")
    pod = obj["spec"]["template"]["spec"]
    return [
        ((*path, kind, number), container)
        for kind in ("containers", "initContainers")
        for number, container in enumerate(pod[kind])
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _DefaultValue:
    path: str
    default: Any
    comment: str


def _list_values(settings: ClusterSettings, objects: Sequence[Object]) -> list[_DefaultValue]:
    """Return all values with their defaults, those of a group one after the other."""
    values = [
        _DefaultValue(
            path=each.value,
            default=each.if_omitted
            if (given := getattr(settings, each.setting)) is None
            else given,
            comment=each.comment,
        )
        for each in _VALUES
    ]
    values += [
        _DefaultValue(
            path="namespace", default="", comment="Of all objects; empty: that of the release"
        ),
        _DefaultValue(
            path="createNamespace",
            default=False,
            comment="Also create it, with the Pod Security level `restricted`",
        ),
        _DefaultValue(
            path="clusterCIDRs",
            default=list(settings.cluster_cidrs),
            comment="Ranges of pods, Services and nodes; the mirror may not connect to them",
        ),
    ]
    for obj in objects:
        values += [
            _DefaultValue(
                path=f"resources.{container['name']}", default=container["resources"], comment=""
            )
            for _, container in _list_containers(obj)
        ]
    return values


def _render_values(values: Sequence[_DefaultValue]) -> str:
    lines: list[str] = []
    group = ""
    for value in values:
        parent, _, key = value.path.rpartition(".")
        text = f"# {value.comment}\n" if value.comment else ""
        text += render_yaml([{key: value.default}])
        if parent and parent != group:
            lines.append(f"{parent}:\n")
        group = parent
        lines.append(indent(text, "  " if parent else ""))
    return "".join(lines)


def _render_schema(values: Sequence[_DefaultValue]) -> Object:
    """Return the JSON schema of the values: helm refuses a misspelled one."""
    properties: Object = {"global": {"type": "object"}}  # helm gives it to charts inside a chart
    for value in values:
        parent, _, key = value.path.rpartition(".")
        kind = _describe_type(value.default)
        if parent:
            properties.setdefault(parent, _describe_object({}))["properties"][key] = kind
        else:
            properties[key] = kind
    schema = {"$schema": "http://json-schema.org/draft-07/schema#"}
    return schema | _describe_object(properties) | {"required": ["image"]}


def _describe_object(properties: Object) -> Object:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _describe_type(default: Any) -> Object:
    if isinstance(default, list):
        return {"type": "array", "items": {"type": "string"}}
    if isinstance(default, Mapping):
        return {"type": "object"}
    return {"type": _JSON_TYPES[type(default)]}


def _render_metadata() -> Object:
    return {
        "apiVersion": "v2",
        "name": NAME,
        "description": "A package index inside the cluster, for pods that cannot reach one outside",
        "type": "application",
        "version": VERSION,
        "appVersion": VERSION,
        "kubeVersion": ">=1.25.0-0",
    }


def _render_notes(port: int) -> str:
    namespace = "{{ .Values.namespace | default .Release.Namespace }}"
    return f"""\
The mirror starts when it has a Secret, which is in no chart:

  kubectl -n {namespace} create secret generic {NAME} \\
    --from-literal=root-password=$(openssl rand -hex 32) \\
    --from-literal=secretfile=$(openssl rand -hex 32)

Then workloads use http://ADDRESS:{port}/workloads/stable/+simple/ with the address of

  kubectl -n {namespace} get service {NAME} -o jsonpath={{.spec.clusterIP}}
"""
