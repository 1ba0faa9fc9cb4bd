"""Errors before and during `mirror up`: each is one message with the next command."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from deploy.lifecycle.preflight import check_cluster, list_required_permissions
from deploy.manifests.model import ClusterSettings
from mirror.core.errors import ClusterError
from tests.cluster.images import LabImage, build_layer, write_archive
from tests.cluster.limited_user import LimitedUser
from tests.cluster.mirror_lab import MirrorLab
from tests.cluster.objects import NO_PROVISIONER
from tests.images.mirror_archive import ensure_mirror_archive

pytestmark = pytest.mark.cluster

RIGHTS = [(each.verb, each.resource) for each in list_required_permissions("pypi-mirror")]
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def write_kubeconfig_for_port(mirror_lab: MirrorLab, folder: Path, port: int) -> str:
    """Write a copy of the lab's kubeconfig whose server is a port on loopback; return its path."""
    config = yaml.safe_load(mirror_lab.lab.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
    path = folder / "config"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def test_up_gives_up_on_an_api_server_that_never_answers(
    mirror_lab: MirrorLab, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        kubeconfig = write_kubeconfig_for_port(mirror_lab, tmp_path, port)
        messages = ("does not answer",)
        mirror_lab.expect_up_to_fail("--kubeconfig", kubeconfig, code=3, messages=messages)


@pytest.mark.parametrize("right", RIGHTS, ids="-".join)
def test_names_each_missing_right(
    mirror_lab: MirrorLab, limited_user: LimitedUser, right: tuple[str, str]
) -> None:
    limited_user.grant([granted for granted in RIGHTS if granted != right], others=RIGHTS)
    verb, resource = right
    with pytest.raises(ClusterError, match="lacks permissions") as error:
        check_cluster(limited_user.connect(), ClusterSettings(image=""))
    assert error.value.why.startswith(f"it may not: {verb} {resource} in ")


def test_up_names_a_missing_right(mirror_lab: MirrorLab, limited_user: LimitedUser) -> None:
    missing = ("create", "secrets")
    limited_user.grant([right for right in RIGHTS if right != missing], others=RIGHTS)
    options = ("--kubeconfig", str(limited_user.kubeconfig), "--image", mirror_lab.image)
    mirror_lab.expect_up_to_fail(
        *options, code=3, messages=("it may not: create secrets in namespace pypi-mirror",)
    )


def test_up_rejects_an_unknown_storage_class(mirror_lab: MirrorLab, namespace: str) -> None:
    options = ("-n", namespace, "--image", mirror_lab.image, "--storage-class", "fast")
    mirror_lab.expect_up_to_fail(
        *options, code=3, messages=("no storage class 'fast'", "microk8s-hostpath")
    )
    assert namespace not in mirror_lab.lab.kubectl("get", "namespaces")


def test_up_fails_without_a_default_storage_class(mirror_lab: MirrorLab, namespace: str) -> None:
    annotate = ("annotate", "--overwrite", "storageclass/microk8s-hostpath")
    mirror_lab.lab.kubectl(*annotate, f"{DEFAULT_CLASS}=false")
    try:
        options = ("-n", namespace, "--image", mirror_lab.image)
        mirror_lab.expect_up_to_fail(
            *options, code=3, messages=("no default storage class", "--storage-class")
        )
    finally:
        mirror_lab.lab.kubectl(*annotate, f"{DEFAULT_CLASS}=true")


def test_up_rejects_a_namespace_that_is_being_deleted(
    mirror_lab: MirrorLab, namespace: str
) -> None:
    mirror_lab.lab.kubectl("create", "namespace", namespace)
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "blocker",
            "namespace": namespace,
            "finalizers": ["example.org/blocker"],
        },
    }
    mirror_lab.lab.apply(config_map)
    mirror_lab.lab.kubectl("delete", "namespace", namespace, "--wait=false")
    try:
        options = ("-n", namespace, "--image", mirror_lab.image)
        mirror_lab.expect_up_to_fail(
            *options, code=3, messages=(f"namespace {namespace} is being deleted",)
        )
    finally:
        patch = ("patch", "configmap", "blocker", "-n", namespace, "--type=merge")
        mirror_lab.lab.kubectl(*patch, "-p", '{"metadata":{"finalizers":null}}')


def test_up_reports_a_claim_that_stays_pending(mirror_lab: MirrorLab, namespace: str) -> None:
    mirror_lab.lab.apply(NO_PROVISIONER)
    try:
        options = ("-n", namespace, "--image", mirror_lab.image, "--storage-class", "nobody")
        messages = ("volume claim pypi-mirror-data: Pending", "not scheduled")
        mirror_lab.expect_up_to_fail(*options, "--timeout", "30", code=4, messages=messages)
    finally:
        mirror_lab.lab.kubectl("delete", "storageclass", "nobody")


def test_up_reports_an_image_missing_on_a_node(mirror_lab: MirrorLab, namespace: str) -> None:
    mirror_lab.lab.remove_image("ra", mirror_lab.image)
    try:
        options = ("-n", namespace, "--image", mirror_lab.image, "--node", "ra", "--timeout", "240")
        mirror_lab.expect_up_to_fail(
            *options, code=3, messages=("ra", mirror_lab.image.rpartition("/")[2])
        )
    finally:
        mirror_lab.lab.load_image(ensure_mirror_archive(), ["ra"])
        mirror_lab.wait_until_image_reported()


def test_up_rejects_an_image_for_another_architecture(
    mirror_lab: MirrorLab, namespace: str, tmp_path: Path
) -> None:
    """The image's programs are ELF files for aarch64."""
    header = b"\x7fELF\x02\x01\x01" + b"\0" * 9 + b"\x02\x00\xb7\x00\x01\x00\x00\x00" + b"\0" * 40
    programs = ("python3", "devpi-server", "nginx")
    files = {f"usr/bin/{name}": header for name in programs}
    archive = tmp_path / "arm.tar"
    write_archive(
        archive,
        [LabImage(name="lab/arm:1", layers=(build_layer(files, {}, ("tmp", "data")),))],
    )
    mirror_lab.lab.load_image(archive)
    options = ("-n", namespace, "--image", "docker.io/lab/arm:1", "--timeout", "240")
    mirror_lab.expect_up_to_fail(*options, code=3, messages=("another architecture", "next:"))


@pytest.mark.parametrize("content", [None, "", "no certificate", "-----BEGIN CERTIFICATE-----\n"])
def test_up_rejects_a_bad_ca_file(
    mirror_lab: MirrorLab, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    options = ("--image", mirror_lab.image, "--ca-bundle", str(path))
    mirror_lab.expect_up_to_fail(*options, code=2, messages=("bad CA file", str(path)))


def test_up_rejects_an_unknown_node(mirror_lab: MirrorLab, namespace: str) -> None:
    options = ("-n", namespace, "--image", mirror_lab.image, "--node", "seth")
    mirror_lab.expect_up_to_fail(*options, code=2, messages=("no node 'seth'", "anubis, babel, ra"))


def test_up_lists_the_delivery_methods_without_engine_and_image(
    mirror_lab: MirrorLab, namespace: str
) -> None:
    env = {**mirror_lab.env, "DOCKER_HOST": "unix:///nonexistent.sock"}
    result = mirror_lab.program("mirror", "up", "-n", namespace, env=env, timeout=60)
    assert result.returncode == 3
    for message in ("no Docker engine", "registry:", "nodes:", "--image"):
        assert message in result.stderr


def test_up_continues_after_ctrl_c(mirror_lab: MirrorLab, namespace: str) -> None:
    program = shutil.which("mirror")
    assert program
    argv = [program, "up", "-n", namespace, "--image", mirror_lab.image]
    argv += ["--ca-bundle", str(mirror_lab.ca_bundle)]
    started = subprocess.Popen(
        argv, env={**os.environ, **mirror_lab.env}, stderr=subprocess.PIPE, text=True
    )
    assert started.stderr is not None
    head = ""
    while "wait until the mirror is ready" not in head:
        line = started.stderr.readline()
        assert line, head
        head += line
    started.send_signal(signal.SIGINT)
    _, rest = started.communicate(timeout=30)
    assert started.returncode == 130
    assert "run the same command again" in rest
    assert "Traceback" not in head + rest
    assert mirror_lab.up("-n", namespace)["probes"]
    assert mirror_lab.run_mirror("down", "--purge", "--yes", "-n", namespace).returncode == 0


@pytest.fixture(scope="module")
def limited_user(
    mirror_lab: MirrorLab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LimitedUser]:
    user = LimitedUser(mirror_lab.lab, tmp_path_factory.mktemp("limited"))
    yield user
    user.remove()
