"""The kustomize base and the Helm chart, rendered with the real tools, are the mirror's objects."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.manifests.helm_chart import render_chart
from deploy.manifests.kustomize import render_base
from deploy.manifests.mirror_objects import render_objects
from deploy.manifests.model import ClusterSettings, Object
from tests.cluster.apiserver import ApiServer
from tests.cluster.binaries import ensure_helm

pytestmark = pytest.mark.cluster

PLAIN = ClusterSettings(image="registry.example/mirror:1")
FULL = replace(
    PLAIN,
    port=3200,
    node_port=30200,
    size="5Gi",
    storage_class="fast",
    node="anubis",
    pull_secret="registry",
    upstream="http://index.example/simple/",
    ca_pem="-----BEGIN CERTIFICATE-----\nPEM\n-----END CERTIFICATE-----\n",
    cluster_ip="10.152.183.7",
    cluster_cidrs=("10.1.0.0/16", "192.168.0.0/16"),
)
# values that set what FULL sets; port and certificates are parts of the chart
FULL_VALUES = {
    "upstream": FULL.upstream,
    "storage": {"size": "5Gi", "className": "fast"},
    "service": {"clusterIP": "10.152.183.7", "nodePort": 30200},
    "node": "anubis",
    "pullSecret": "registry",
    "clusterCIDRs": ["192.168.0.0/16", "10.1.0.0/16"],
}
NAMESPACE = {"createNamespace": True}


def by_kind(objects: Iterable[Object]) -> dict[tuple[str, str], Object]:
    found = list(objects)
    index = {(obj["kind"], obj["metadata"]["name"]): obj for obj in found}
    assert len(index) == len(found)
    return index


def write(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def render_with_helm(
    folder: Path, values: Mapping[str, Any], namespace: str = "pypi-mirror"
) -> dict[tuple[str, str], Object]:
    """Lint and render a chart. Helm's own code complains about a wrong value or template."""
    values_file = folder.with_suffix(".json")
    values_file.write_text(json.dumps(values))
    argv = (str(ensure_helm()), str(folder), namespace, str(values_file))
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return by_kind(yaml.safe_load_all(done.stdout))


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("chart") / "pypi-mirror", render_chart(PLAIN))


def test_the_chart_has_the_objects_of_manifests(chart: Path) -> None:
    assert render_with_helm(chart, NAMESPACE) == by_kind(render_objects(PLAIN))


def test_settings_are_the_defaults_of_values(tmp_path: Path) -> None:
    folder = write(tmp_path / "chart", render_chart(FULL))
    assert render_with_helm(folder, NAMESPACE) == by_kind(render_objects(FULL))


@pytest.mark.parametrize("has_ca", [True, False])
def test_values_do_what_the_options_do(has_ca: bool, tmp_path: Path) -> None:
    expected = replace(FULL, ca_pem=FULL.ca_pem if has_ca else None)
    base = replace(PLAIN, port=FULL.port, ca_pem=expected.ca_pem)
    folder = write(tmp_path / "chart", render_chart(base))
    rendered = render_with_helm(folder, FULL_VALUES | NAMESPACE)
    assert rendered == by_kind(render_objects(expected))


def test_templates_of_other_programs_are_texts(tmp_path: Path) -> None:
    """The dashboard and the alerts have braces that Helm must leave alone."""
    settings = replace(PLAIN, monitoring=True)
    folder = write(tmp_path / "chart", render_chart(settings))
    assert render_with_helm(folder, NAMESPACE) == by_kind(render_objects(settings))


@pytest.mark.parametrize(
    ("value", "setting"),
    [
        ({"image": "other:2"}, {"image": "other:2"}),
        ({"upstream": "http://i.example/s/"}, {"upstream": "http://i.example/s/"}),
        ({"storage": {"size": "1Gi"}}, {"size": "1Gi"}),
        ({"storage": {"className": "fast"}}, {"storage_class": "fast"}),
        ({"service": {"clusterIP": "10.152.183.9"}}, {"cluster_ip": "10.152.183.9"}),
        ({"service": {"nodePort": 30201}}, {"node_port": 30201}),
        ({"node": "1"}, {"node": "1"}),  # a name that YAML would take for a number
        ({"pullSecret": "true"}, {"pull_secret": "true"}),
        ({"clusterCIDRs": ["10.0.0.0/8"]}, {"cluster_cidrs": ("10.0.0.0/8",)}),
    ],
    ids=lambda each: "-".join(each),
)
def test_each_value_alone(value: dict[str, Any], setting: dict[str, Any], chart: Path) -> None:
    expected = by_kind(render_objects(replace(PLAIN, **setting)))
    assert render_with_helm(chart, value | NAMESPACE) == expected


def test_objects_are_in_the_namespace_of_the_release_or_of_the_value(chart: Path) -> None:
    for rendered in (
        render_with_helm(chart, {}, namespace="shop"),
        render_with_helm(chart, {"namespace": "shop"}, namespace="other"),
    ):
        assert {obj["metadata"]["namespace"] for obj in rendered.values()} == {"shop"}
        assert len(rendered) == 5
    with_namespace = render_with_helm(chart, NAMESPACE, namespace="shop")
    assert ("Namespace", "shop") in with_namespace


def test_resources_of_a_container(chart: Path) -> None:
    resources = {"limits": {"memory": "3Gi"}}
    rendered = render_with_helm(chart, {"resources": {"devpi": resources}})
    pod = rendered["StatefulSet", "pypi-mirror"]["spec"]["template"]["spec"]
    limits = {each["name"]: each["resources"]["limits"] for each in pod["containers"]}
    assert limits["devpi"] == {"cpu": "2", "memory": "3Gi"}
    assert limits["front"] == {"cpu": "2", "memory": "256Mi"}


@pytest.mark.parametrize(
    "values", [{"nodeport": 1}, {"service": {"nodePort": "x"}}, {"storage": {"sise": "1Gi"}}]
)
def test_helm_refuses_wrong_values(values: dict[str, Any], chart: Path, tmp_path: Path) -> None:
    values_file = tmp_path / "values.json"
    values_file.write_text(json.dumps(values))
    argv = (str(ensure_helm()), str(chart), "shop", str(values_file))
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "values.yaml: - at" in done.stderr


@pytest.mark.parametrize("settings", [PLAIN, FULL], ids=["plain", "full"])
def test_kustomize_and_the_api_server_accept_the_base(
    settings: ClusterSettings, api_server: ApiServer, tmp_path: Path
) -> None:
    objects = render_objects(settings)
    base = write(tmp_path / "base", render_base(objects))
    built = api_server.kubectl("kustomize", str(base))
    assert by_kind(yaml.safe_load_all(built)) == by_kind(objects)

    overlay = {"resources": ["../base"], "namespace": "shop"}
    overlay["images"] = [{"name": "registry.example/mirror", "newTag": "2"}]  # type: ignore[list-item]
    folder = write(tmp_path / "overlay", {"kustomization.yaml": yaml.safe_dump(overlay)})
    changed = by_kind(yaml.safe_load_all(api_server.kubectl("kustomize", str(folder))))
    assert ("Namespace", "shop") in changed
    pod = changed["StatefulSet", "pypi-mirror"]["spec"]["template"]["spec"]
    images = {each["image"] for each in (*pod["containers"], *pod["initContainers"])}
    assert images == {"registry.example/mirror:2"}

    api_server.kubectl("apply", "-f", str(base / "namespace.yaml"))
    applied = api_server.kubectl("apply", "--server-side", "--dry-run=server", "-k", str(base))
    assert applied.count("serverside-applied (server dry run)") == len(objects)


@pytest.mark.parametrize("settings", [PLAIN, FULL], ids=["plain", "full"])
def test_the_api_server_accepts_the_chart(
    settings: ClusterSettings, api_server: ApiServer, tmp_path: Path
) -> None:
    folder = write(tmp_path / "chart", render_chart(settings))
    rendered = render_with_helm(folder, NAMESPACE)
    namespace = rendered.pop(("Namespace", "pypi-mirror"))
    api_server.kubectl("apply", "-f", "-", stdin=json.dumps(namespace))
    document = {"apiVersion": "v1", "kind": "List", "items": list(rendered.values())}
    argv = ("apply", "--server-side", "--dry-run=server", "-f", "-")
    applied = api_server.kubectl(*argv, stdin=json.dumps(document))
    assert applied.count("serverside-applied (server dry run)") == len(rendered)
