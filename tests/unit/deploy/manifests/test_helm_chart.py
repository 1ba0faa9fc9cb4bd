"""The chart's templates and values, literally; tests/cluster renders them with Helm's own code."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from deploy.manifests.helm_chart import render_chart
from deploy.manifests.helm_template import HelmTemplate
from deploy.manifests.model import ClusterSettings
from deploy.manifests.optional_parts import OptionalPart, find_optional_parts
from mirror.version import VERSION


@pytest.mark.parametrize(
    ("full", "reduced", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1, "b": 2}, {"a": 1}, [(("b",), None)]),
        ({"a": {"b": [1, {"c": 2}]}}, {"a": {"b": [1, {}]}}, [(("a", "b", 1, "c"), None)]),
        (["x", "--to", "y", "z"], ["x", "z"], [((1,), None), ((2,), None)]),
        (["x", "--to", "y"], ["x"], [((1,), None), ((2,), None)]),
        ({"type": "NodePort"}, {"type": "ClusterIP"}, [(("type",), "ClusterIP")]),
    ],
)
def test_parts_that_a_setting_adds(
    full: Any, reduced: Any, expected: list[tuple[Any, Any]]
) -> None:
    found = find_optional_parts(full, reduced)
    assert list(found) == [OptionalPart(path=path, other=other) for path, other in expected]


def test_a_template_has_values_conditions_and_blocks() -> None:
    template = HelmTemplate(
        {
            "kind": "K",
            "type": "A",
            "name": "marker",
            "limits": {"cpu": "1"},
            "extra": {"x": 1},
            "words": ["run", "--to", "marker", "end"],
            "text": "one {{ two }}\nthree\n",
        }
    )
    parts = [(("extra",), None), (("words", 1), None), (("words", 2), None), (("type",), "B")]
    found = [OptionalPart(path=path, other=other) for path, other in parts]
    template.make_conditional(".Values.to", found)
    template.replace_scalar("marker", ".Values.name | quote")
    template.replace_block(("limits",), ".Values.limits")
    template.condition = ".Values.create"
    assert template.render() == (
        "{{- if .Values.create }}\n"
        "kind: K\n"
        "type: {{ if .Values.to }}A{{ else }}B{{ end }}\n"
        "name: {{ .Values.name | quote }}\n"
        "limits:\n"
        "  {{- toYaml (.Values.limits) | nindent 2 }}\n"
        "{{- if .Values.to }}\n"
        "extra:\n"
        "  x: 1\n"
        "{{- end }}\n"
        "words:\n"
        "  - run\n"
        "  {{- if .Values.to }}\n"
        "  - --to\n"
        "  - {{ .Values.name | quote }}\n"
        "  {{- end }}\n"
        "  - end\n"
        "text: |\n"
        '  one {{ "{{" }} two }}\n'
        "  three\n"
        "{{- end }}\n"
    )


def test_settings_are_defaults_of_values() -> None:
    settings = ClusterSettings(
        image="m:1", node_port=30200, storage_class="fast", cluster_cidrs=("10.1.0.0/16",)
    )
    values = yaml.safe_load(render_chart(settings)["values.yaml"])
    resources = values.pop("resources")
    assert values == {
        "image": "m:1",
        "upstream": "",
        "storage": {"size": "20Gi", "className": "fast"},
        "service": {"clusterIP": "", "nodePort": 30200},
        "node": "",
        "pullSecret": "",
        "namespace": "",
        "createNamespace": False,
        "clusterCIDRs": ["10.1.0.0/16"],
    }
    assert list(resources) == ["devpi", "public", "front", "prepare"]
    assert resources["devpi"]["requests"] == {"cpu": "250m", "memory": "256Mi"}


def test_values_have_comments() -> None:
    values = render_chart(ClusterSettings(image="m:1"))["values.yaml"]
    assert values.startswith(
        "# Image that the nodes can pull; `build-image mirror` builds it\nimage: m:1\n"
    )
    assert "\n  # Also serve on this port of every node; 0: do not\n  nodePort: 0\n" in values


def test_the_schema_knows_every_value_and_no_other() -> None:
    files = render_chart(ClusterSettings(image="m:1"))
    schema, values = json.loads(files["values.schema.json"]), yaml.safe_load(files["values.yaml"])
    assert schema["properties"].keys() == values.keys() | {"global"}
    assert schema["additionalProperties"] is False
    for group in ("storage", "service", "resources"):
        assert schema["properties"][group]["properties"].keys() == values[group].keys()
        assert schema["properties"][group]["additionalProperties"] is False
    assert schema["properties"]["service"]["properties"]["nodePort"] == {"type": "integer"}


def test_no_marker_is_left_and_no_secret_is_in_the_chart() -> None:
    settings = ClusterSettings(image="m:1", ca_pem="PEM")
    files = render_chart(settings)
    assert [name for name, text in files.items() if "marker" in text or "@@" in text] == []
    assert [name for name in files if "secret" in name] == []
    assert "templates/configmap-ca.yaml" in files
    notes = files["templates/NOTES.txt"]
    assert "--from-literal=root-password=" in notes
    assert "--from-literal=secretfile=" in notes


def test_the_chart_has_the_version_of_the_program() -> None:
    chart = yaml.safe_load(render_chart(ClusterSettings(image="m:1"))["Chart.yaml"])
    assert (chart["name"], chart["version"], chart["appVersion"]) == (
        "pypi-mirror",
        VERSION,
        VERSION,
    )
