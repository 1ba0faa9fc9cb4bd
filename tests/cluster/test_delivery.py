"""The image gets to real nodes, each way, and a pod on every node runs it."""

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
from images.builder import BuiltImage
from images.engine import EngineClient
from mirror.core.errors import DeliveryError
from mirror.core.progress import SILENT
from mirror.core.wait import Deadline, wait_until
from tests.cluster.engine import docker_engine
from tests.cluster.images import ensure_base_image
from tests.cluster.lab import Lab
from tests.images.mirror_archive import connect_engine, ensure_mirror_archive

pytestmark = [pytest.mark.cluster, pytest.mark.engine, pytest.mark.index]

SECONDS = 600.0
IMPORT = "-m tests.cluster exec --name {lab} {{node}} ctr -n k8s.io images import -"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineClient]:
    """An engine that has the base and, by its archive, the mirror image."""
    archive = ensure_mirror_archive()
    with docker_engine(tmp_path_factory.mktemp("engine")) as own:
        own.load(ensure_base_image())
        own.load(archive)
        yield connect_engine(own.host, SECONDS)


@pytest.fixture(scope="module")
def image(engine: EngineClient) -> BuiltImage:
    """The mirror's image under a name of its own: other tests need theirs on the nodes."""
    found = build_mirror(engine, progress=SILENT)
    assert not found.built
    engine.tag(found.id, "pypi-mirror:delivered")
    return replace(found, reference="pypi-mirror:delivered")


@pytest.fixture
def api(faulty_lab: Lab) -> Cluster:
    deadline = Deadline.after(SECONDS)
    return Cluster.connect(kubeconfig=faulty_lab.kubeconfig, context=None, deadline=deadline)


@pytest.fixture
def nowhere(faulty_lab: Lab, image: BuiltImage) -> Iterator[None]:
    """No node has the image when the test begins and when it has ended."""

    def forget() -> None:
        full = normalize_reference(image.reference)
        for node in faulty_lab.nodes:
            words = ("ctr", "-n", "k8s.io", "images", "remove", "--sync", full)
            faulty_lab.exec(node, *words, check=False)

    forget()
    yield
    forget()


def build_pods(delivered: DeliveredImage, nodes: tuple[str, ...]) -> list[Object]:
    def one(node: str) -> Object:
        container: Object = {
            "name": "main",
            "image": delivered.reference,
            "imagePullPolicy": "IfNotPresent",
        }
        container["command"] = ["devpi-server", "--version"]
        spec = {"nodeName": node, "restartPolicy": "Never", "containers": [container]}
        meta = {"name": f"delivered-{delivered.method}-{node}", "namespace": "default"}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}

    return [one(node) for node in nodes]


def assert_runs_everywhere(api: Cluster, delivered: DeliveredImage, nodes: tuple[str, ...]) -> None:
    for run in run_pods(api, build_pods(delivered, nodes), Deadline.after(300)):
        assert run.succeeded, f"{run.node}: {run.why}{run.output}"


def test_by_the_clusters_own_registry(
    api: Cluster, engine: EngineClient, image: BuiltImage, faulty_lab: Lab, nowhere: None
) -> None:
    way = choose_method(api, DeliveryOptions())
    assert way.name == "registry"
    check_architecture(image.architecture, api.list("Node"))
    delivered = way.deliver(image, engine, api, DeliveryOptions(), SILENT)
    assert delivered.reference.startswith(f"localhost:32000/{image.reference}@sha256:")
    again = way.deliver(image, engine, api, DeliveryOptions(), SILENT)
    assert again == delivered, "the reference stays, so nothing that uses it changes"
    assert_runs_everywhere(api, delivered, faulty_lab.nodes)


def test_by_a_given_registry(
    api: Cluster, engine: EngineClient, image: BuiltImage, faulty_lab: Lab, nowhere: None
) -> None:
    """Another name for it, as a company's registry would have."""
    options = DeliveryOptions(registry=f"{faulty_lab.registry}/team")
    delivered = choose_method(api, options).deliver(image, engine, api, options, SILENT)
    assert delivered.reference.startswith(f"{faulty_lab.registry}/team/pypi-mirror:")
    assert_runs_everywhere(api, delivered, faulty_lab.nodes)


def test_by_import_on_each_node(
    api: Cluster, engine: EngineClient, image: BuiltImage, faulty_lab: Lab, nowhere: None
) -> None:
    options = DeliveryOptions(
        import_command=f"{sys.executable} {IMPORT.format(lab=faulty_lab.name)}"
    )
    way = choose_method(api, options)
    assert way.name == "nodes"
    delivered = way.deliver(image, engine, api, options, SILENT)
    assert set(delivered.nodes) <= set(faulty_lab.nodes)
    assert_runs_everywhere(api, delivered, faulty_lab.nodes)
    wait_until(
        lambda: not list_nodes_without_image(api, delivered.reference),
        deadline=Deadline.after(90),
        what="the nodes tell that they have it",
    )
    assert way.deliver(image, engine, api, options, SILENT).nodes == ()


def test_a_node_that_cannot_be_reached_is_named(
    api: Cluster, engine: EngineClient, image: BuiltImage, faulty_lab: Lab, tmp_path: Path
) -> None:
    unknown = replace(image, reference="pypi-mirror:on-no-node")
    engine.tag(image.id, unknown.reference)
    fails = tmp_path / "import"
    fails.write_text('#!/bin/sh\ncat > /dev/null\n[ "$1" != "$2" ] || { echo down >&2; exit 7; }\n')
    fails.chmod(0o755)
    last = faulty_lab.nodes[-1]
    options = DeliveryOptions(import_command=f"{fails} {{node}} {last}")
    with pytest.raises(DeliveryError, match=f"not imported on {last}") as failed:
        choose_method(api, options).deliver(unknown, engine, api, options, SILENT)
    assert "down" in failed.value.why
