"""What can be wrong before and during `mirror up`: each said in one error with the next command."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from deploy.lifecycle.preflight import REQUIRED_PERMISSIONS
from mirror.core.errors import ClusterError
from tests.cluster.images import LabImage, build_layer, write_archive
from tests.cluster.limited_user import LimitedUser
from tests.cluster.mirror_lab import MirrorLab

pytestmark = pytest.mark.cluster

DEFAULT = "storageclass.kubernetes.io/is-default-class"


@pytest.fixture
def namespace(mirrored: MirrorLab, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of this test's own for the mirror; gone afterwards."""
    name = f"t{abs(hash(request.node.name)) % 10**8}"
    yield name
    mirrored.lab.kubectl(
        "delete", "namespace", name, "--ignore-not-found", "--wait=false", timeout=30
    )


def expect_failure(
    mirrored: MirrorLab, *words: str, code: int, said: tuple[str, ...], timeout: float = 300
) -> str:
    """Run `mirror up` that must fail with this code, these words, a next step and no traceback."""
    done = mirrored.run_mirror("up", *words, timeout=timeout)
    assert done.returncode == code, done.stderr
    for part in said:
        assert part in done.stderr, done.stderr
    assert "next:" in done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_no_cluster(mirrored: MirrorLab, tmp_path: Path) -> None:
    config = yaml.safe_load(mirrored.lab.kubeconfig.read_text())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()[1]
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{closed}"
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(config))
    expect_failure(
        mirrored, "--kubeconfig", str(path), code=3, said=("does not answer", str(closed))
    )


def test_an_api_server_that_never_answers_is_not_waited_for(
    mirrored: MirrorLab, tmp_path: Path
) -> None:
    config = yaml.safe_load(mirrored.lab.kubeconfig.read_text())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
        path = tmp_path / "config"
        path.write_text(yaml.safe_dump(config))
        begun = time.monotonic()
        expect_failure(mirrored, "--kubeconfig", str(path), code=3, said=("does not answer",))
        assert time.monotonic() - begun < 30


def test_no_kubeconfig(mirrored: MirrorLab, tmp_path: Path) -> None:
    missing = str(tmp_path / "none")
    expect_failure(
        mirrored, "--kubeconfig", missing, code=3, said=("no cluster to talk to", "--local")
    )


def test_a_wrong_context_lists_those_there_are(mirrored: MirrorLab) -> None:
    active = mirrored.lab.kubectl("config", "current-context").strip()
    expect_failure(mirrored, "--context", "prod", code=3, said=("no context 'prod'", active))


@pytest.mark.parametrize("right", REQUIRED_PERMISSIONS, ids=lambda right: f"{right[0]}-{right[1]}")
def test_each_missing_right_is_named(
    mirrored: MirrorLab, limited: LimitedUser, right: tuple[str, str, bool]
) -> None:
    limited.allow([one for one in REQUIRED_PERMISSIONS if one != right])
    verb, resource, _ = right
    with pytest.raises(ClusterError, match="lacks permissions") as told:
        limited.run_preflight()
    assert told.value.why.startswith(f"it may not: {verb} {resource} in ")


def test_a_missing_right_on_the_command_line(mirrored: MirrorLab, limited: LimitedUser) -> None:
    limited.allow([one for one in REQUIRED_PERMISSIONS if one[:2] != ("create", "secrets")])
    given = ("--kubeconfig", str(limited.kubeconfig), "--image", mirrored.image)
    reason = "it may not: create secrets in namespace pypi-mirror"
    expect_failure(mirrored, *given, code=3, said=(reason,))


def test_no_such_storage_class(mirrored: MirrorLab, namespace: str) -> None:
    words = ("-n", namespace, "--image", mirrored.image, "--storage-class", "fast")
    expect_failure(mirrored, *words, code=3, said=("no storage class 'fast'", "microk8s-hostpath"))
    assert namespace not in mirrored.lab.kubectl("get", "namespaces")


def test_no_default_storage_class(mirrored: MirrorLab, namespace: str) -> None:
    with annotated_node(mirrored, "storageclass/microk8s-hostpath", DEFAULT, "false"):
        words = ("-n", namespace, "--image", mirrored.image)
        expect_failure(
            mirrored, *words, code=3, said=("no default storage class", "--storage-class")
        )


def test_a_namespace_that_is_being_deleted(mirrored: MirrorLab, namespace: str) -> None:
    mirrored.lab.kubectl("create", "namespace", namespace)
    held = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "held", "namespace": namespace, "finalizers": ["example.org/held"]},
    }
    mirrored.lab.kubectl("apply", "-f", "-", stdin=json.dumps(held))
    mirrored.lab.kubectl("delete", "namespace", namespace, "--wait=false")
    try:
        words = ("-n", namespace, "--image", mirrored.image)
        expect_failure(mirrored, *words, code=3, said=(f"namespace {namespace} is being deleted",))
    finally:
        patch = ("patch", "configmap", "held", "-n", namespace, "--type=merge")
        mirrored.lab.kubectl(*patch, "-p", '{"metadata":{"finalizers":null}}')


def test_a_claim_that_stays_pending(mirrored: MirrorLab, namespace: str) -> None:
    nobody = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "nobody"},
        "provisioner": "example.org/nobody",
    }
    mirrored.lab.kubectl("apply", "-f", "-", stdin=json.dumps(nobody))
    try:
        words = ("-n", namespace, "--image", mirrored.image, "--storage-class", "nobody")
        said = ("volume claim pypi-mirror-data: Pending", "not scheduled")
        expect_failure(mirrored, *words, "--timeout", "30", code=4, said=said)
    finally:
        mirrored.lab.kubectl("delete", "storageclass", "nobody")


def test_an_image_that_is_missing_on_one_node(mirrored: MirrorLab, namespace: str) -> None:
    from tests.images.mirror_archive import ensure_mirror_archive

    mirrored.lab.remove_image("ra", mirrored.image)
    try:
        words = ("-n", namespace, "--image", mirrored.image, "--node", "ra", "--timeout", "240")
        expect_failure(mirrored, *words, code=3, said=("ra", mirrored.image.rpartition("/")[2]))
    finally:
        mirrored.lab.load_image(ensure_mirror_archive(), ["ra"])
        mirrored.wait_until_image_reported()


def test_an_image_for_another_architecture(
    mirrored: MirrorLab, namespace: str, tmp_path: Path
) -> None:
    """Its programs are ELF files for aarch64, as an image of that architecture holds."""
    header = b"\x7fELF\x02\x01\x01" + b"\0" * 9 + b"\x02\x00\xb7\x00\x01\x00\x00\x00" + b"\0" * 40
    programs = ("python3", "devpi-server", "nginx")
    files = {f"usr/bin/{name}": header for name in programs}
    archive = tmp_path / "arm.tar"
    write_archive(
        archive,
        [LabImage(name="lab/arm:1", layers=(build_layer(files, {}, ("tmp", "data")),))],
    )
    mirrored.lab.load_image(archive)
    words = ("-n", namespace, "--image", "docker.io/lab/arm:1", "--timeout", "240")
    expect_failure(mirrored, *words, code=3, said=("another architecture", "next:"))


@pytest.mark.parametrize("content", [None, "", "no certificate", "-----BEGIN CERTIFICATE-----\n"])
def test_a_bad_ca_file(mirrored: MirrorLab, tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    words = ("--image", mirrored.image, "--ca-bundle", str(path))
    expect_failure(mirrored, *words, code=2, said=("bad CA file", str(path)))


def test_no_such_node(mirrored: MirrorLab, namespace: str) -> None:
    words = ("-n", namespace, "--image", mirrored.image, "--node", "seth")
    expect_failure(mirrored, *words, code=2, said=("no node 'seth'", "anubis, babel, ra"))


def test_neither_engine_nor_image_lists_the_ways(mirrored: MirrorLab, namespace: str) -> None:
    env = {**mirrored.env, "DOCKER_HOST": "unix:///nonexistent.sock"}
    done = mirrored.program("mirror", "up", "-n", namespace, env=env, timeout=60)
    assert done.returncode == 3
    for part in ("no Docker engine", "registry:", "nodes:", "--image"):
        assert part in done.stderr


def test_ctrl_c_leaves_a_state_that_up_continues(mirrored: MirrorLab, namespace: str) -> None:
    found = shutil.which("mirror")
    assert found
    words = [found, "up", "-n", namespace, "--image", mirrored.image]
    words += ["--ca-bundle", str(mirrored.ca_bundle)]
    begun = subprocess.Popen(
        words, env={**os.environ, **mirrored.env}, stderr=subprocess.PIPE, text=True
    )
    assert begun.stderr is not None
    head = ""
    while "wait until the mirror is ready" not in head:
        line = begun.stderr.readline()
        assert line, head
        head += line
    begun.send_signal(signal.SIGINT)
    _, told = begun.communicate(timeout=30)
    assert begun.returncode == 130
    assert "run the same command again" in told
    assert "Traceback" not in head + told
    assert mirrored.up("-n", namespace)["probes"]
    assert mirrored.run_mirror("down", "--purge", "-n", namespace).returncode == 0


@pytest.fixture(scope="module")
def limited(mirrored: MirrorLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimitedUser]:
    made = LimitedUser(mirrored, tmp_path_factory.mktemp("limited"))
    yield made
    made.remove()


@contextmanager
def annotated_node(mirrored: MirrorLab, name: str, key: str, value: str) -> Iterator[None]:
    """An annotation changed for the length of a block."""
    mirrored.lab.kubectl("annotate", "--overwrite", name, f"{key}={value}")
    try:
        yield
    finally:
        mirrored.lab.kubectl("annotate", "--overwrite", name, f"{key}=true")
