"""Deliver the image to real nodes by each method, and run it on every node."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.cluster.client import Cluster, Object
from deploy.cluster.node_images import (
    check_architecture,
    list_nodes_without_image,
    normalize_reference,
)
from deploy.cluster.pod_run import run_pods
from deploy.delivery import DeliveredImage, DeliveryOptions, choose_method
from images.build_mirror import build_mirror
from images.engine import EngineClient
from images.shared_build import BuiltImage
from mirror.core.errors import DeliveryError
from mirror.core.progress import SILENT
from mirror.core.wait import Deadline, wait_until
from tests.cluster.engine import docker_engine
from tests.cluster.images import ensure_base_image
from tests.cluster.lab import Lab
from tests.images.mirror_archive import connect_engine, ensure_mirror_archive

pytestmark = [pytest.mark.cluster, pytest.mark.engine, pytest.mark.index]

TIMEOUT_SECONDS = 600.0
IMPORT = "-m tests.cluster exec --name {lab} {{node}} ctr -n k8s.io images import -"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineClient]:
    """Provide an engine with the base image and the archive of the mirror's image."""
    archive = ensure_mirror_archive()
    with docker_engine(tmp_path_factory.mktemp("engine")) as docker:
        docker.load(ensure_base_image())
        docker.load(archive)
        yield connect_engine(docker.host, TIMEOUT_SECONDS)


@pytest.fixture(scope="module")
def image(engine: EngineClient) -> BuiltImage:
    """Provide the mirror's image under its own name: other tests need theirs on the nodes."""
    built = build_mirror(engine, progress=SILENT)
    assert not built.built
    engine.tag(built.id, "pypi-mirror:delivered")
    return replace(built, reference="pypi-mirror:delivered")


@pytest.fixture
def api(faulty_lab: Lab) -> Cluster:
    deadline = Deadline.after(TIMEOUT_SECONDS)
    return Cluster.connect(kubeconfig=faulty_lab.kubeconfig, context=None, deadline=deadline)


@pytest.fixture
def on_no_node(faulty_lab: Lab, image: BuiltImage) -> Iterator[None]:
    """Remove the image from all nodes before and after the test."""

    def remove_image() -> None:
        reference = normalize_reference(image.reference)
        for node in faulty_lab.nodes:
            command = ("ctr", "-n", "k8s.io", "images", "remove", "--sync", reference)
            faulty_lab.exec(node, *command, check=False)

    remove_image()
    yield
    remove_image()


def build_pods(delivered: DeliveredImage, nodes: tuple[str, ...]) -> list[Object]:
    def build_pod(node: str) -> Object:
        container: Object = {
            "name": "main",
            "image": delivered.reference,
            "imagePullPolicy": "IfNotPresent",
        }
        container["command"] = ["devpi-server", "--version"]
        spec = {"nodeName": node, "restartPolicy": "Never", "containers": [container]}
        metadata = {"name": f"delivered-{delivered.method}-{node}", "namespace": "default"}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}

    return [build_pod(node) for node in nodes]


def assert_runs_everywhere(api: Cluster, delivered: DeliveredImage, nodes: tuple[str, ...]) -> None:
    for run in run_pods(api, build_pods(delivered, nodes), Deadline.after(300)):
        assert run.succeeded, f"{run.node}: {run.why}{run.output}"


def test_delivers_by_the_clusters_registry(
    api: Cluster, engine: EngineClient, image: BuiltImage, faulty_lab: Lab, on_no_node: None
) -> None:
    method = choose_method(api, DeliveryOptions())
    assert method.name == "registry"
    check_architecture(image.architecture, api.list("Node"))
    delivered = method.deliver(image, engine, api, DeliveryOptions(), SILENT)
    assert delivered.reference.startswith(f"localhost:32000/{image.reference}@sha256:")
    again = method.deliver(image, engine, api, DeliveryOptions(), SILENT)
    assert again == delivered, "the reference stays, so nothing that uses it changes"
    assert_runs_everywhere(api, delivered, faulty_lab.nodes)


def test_delivers_by_a_given_registry(
    api: Cluster, engine: EngineClient, image: BuiltImage, faulty_lab: Lab, on_no_node: None
) -> None:
    """The lab's registry under another name, as a company's registry would have."""
    options = DeliveryOptions(registry=f"{faulty_lab.registry}/team")
    delivered = choose_method(api, options).deliver(image, engine, api, options, SILENT)
    assert delivered.reference.startswith(f"{faulty_lab.registry}/team/pypi-mirror:")
    assert_runs_everywhere(api, delivered, faulty_lab.nodes)


def test_delivers_by_an_import_on_each_node(
    api: Cluster, engine: EngineClient, image: BuiltImage, faulty_lab: Lab, on_no_node: None
) -> None:
    options = DeliveryOptions(
        import_command=f"{sys.executable} {IMPORT.format(lab=faulty_lab.name)}"
    )
    method = choose_method(api, options)
    assert method.name == "nodes"
    delivered = method.deliver(image, engine, api, options, SILENT)
    assert set(delivered.nodes) <= set(faulty_lab.nodes)
    assert_runs_everywhere(api, delivered, faulty_lab.nodes)
    wait_until(
        lambda: not list_nodes_without_image(api, delivered.reference),
        deadline=Deadline.after(90),
        what="the nodes report the image",
    )
    assert method.deliver(image, engine, api, options, SILENT).nodes == ()


def test_names_a_node_that_cannot_be_reached(
    api: Cluster, engine: EngineClient, image: BuiltImage, faulty_lab: Lab, tmp_path: Path
) -> None:
    renamed = replace(image, reference="pypi-mirror:on-no-node")
    engine.tag(image.id, renamed.reference)
    script = tmp_path / "import"
    script.write_text(
        '#!/bin/sh\ncat > /dev/null\n[ "$1" != "$2" ] || { echo down >&2; exit 7; }\n'
    )
    script.chmod(0o755)
    last_node = faulty_lab.nodes[-1]
    options = DeliveryOptions(import_command=f"{script} {{node}} {last_node}")
    with pytest.raises(DeliveryError, match=f"not imported on {last_node}") as error:
        choose_method(api, options).deliver(renamed, engine, api, options, SILENT)
    assert "down" in error.value.why
