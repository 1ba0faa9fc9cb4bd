"""From the creation of a pod until it answers /health: installed at its start, and baked."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from mirror.devpi import read_default_upstream
from mirror.settings import SIMPLE_JSON
from tests.cluster.engine import DockerEngine
from tests.cluster.lab import Lab, running_lab
from tests.cluster.mirror_lab import wait_until_image_reported
from tests.cluster.options import LabOptions
from tests.conftest import CA_BUNDLE
from tests.images.mirror_archive import archive_reference, ensure_mirror_archive
from tests.images.projects import run_program

SECRETS = ("AUTH_SECRET_KEY", "ADMIN_PASSWORD", "ADMIN_EMAIL")
START_TIMEOUT = 300.0  # seconds until a pod has to answer
_CA = "/etc/ca/ca.crt"


def measure_pod_starts(
    engine: DockerEngine, runtime: str, baked: str, repeats: int
) -> Mapping[str, list[float]]:
    """Seconds by way. Both images are on the node before."""
    with _lab() as up:
        for image in (runtime, baked):
            with tempfile.NamedTemporaryFile(suffix=".tar") as tar:
                engine.docker("save", "--output", tar.name, image, timeout=300)
                up.load_image(Path(tar.name))
        up.kubectl("create", "configmap", "ca", f"--from-file=ca.crt={CA_BUNDLE}")
        mirrored = _mirror(up)
        upstream = {"UV_DEFAULT_INDEX": read_default_upstream()}
        ways = {
            "from upstream": (runtime, upstream, 1),
            "from the mirror, cold": (runtime, mirrored, 1),
            "from the mirror, warm": (runtime, mirrored, repeats),
            "baked": (baked, {}, repeats),
        }
        return {
            name: [measure_pod_start(up, image, env) for _ in range(times)]
            for name, (image, env, times) in ways.items()
        }


def measure_pod_start(up: Lab, image: str, env: Mapping[str, str]) -> float:
    """One pod, from its creation to its first good answer, asked for on its node."""
    (node,) = up.nodes
    given = {**dict.fromkeys(SECRETS, "only-in-the-benchmark"), **env, "SSL_CERT_FILE": _CA}
    container: dict[str, Any] = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "env": [{"name": key, "value": value} for key, value in given.items()],
        "volumeMounts": [{"name": "ca", "mountPath": "/etc/ca"}],
    }
    volumes = [{"name": "ca", "configMap": {"name": "ca"}}]
    options = [{"name": "ndots", "value": "1"}]
    spec: dict[str, Any] = {"containers": [container], "volumes": volumes}
    spec |= {"dnsConfig": {"options": options}, "terminationGracePeriodSeconds": 0}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "started"}, "spec": spec}
    since = time.monotonic()
    up.kubectl("create", "-f", "-", stdin=json.dumps(pod))
    try:
        address = ""
        while time.monotonic() - since < START_TIMEOUT:
            words = ("get", "pod", "started", "-o", "jsonpath={.status.podIP}")
            address = address or up.kubectl(*words)
            if address and _healthy(up, node, address):
                return time.monotonic() - since
            time.sleep(0.2)
        raise AssertionError(up.kubectl("logs", "started", "--tail=30"))
    finally:
        up.kubectl("delete", "pod", "started", "--wait=true", "--ignore-not-found")


def _healthy(up: Lab, node: str, address: str) -> bool:
    ask = ("timeout", "2", "busybox", "wget", "-q", "-O", "-", f"http://{address}:8000/health")
    return up.exec(node, *ask, check=False).returncode == 0


@contextmanager
def _lab() -> Iterator[Lab]:
    """One node, pods may leave the cluster, and the upstream's names are known."""
    with httpx.Client(headers={"Accept": SIMPLE_JSON}, timeout=60) as client:
        page = client.get(f"{read_default_upstream()}idna/").raise_for_status().json()
    urls = (read_default_upstream(), page["files"][0]["url"])
    names = {str(urlsplit(url).hostname) for url in urls}
    hosts = {name: socket.gethostbyname(name) for name in names}
    options = LabOptions(name=f"bench-{os.getpid()}", nodes=("anubis",), hosts=hosts)
    with running_lab(options) as up:
        yield up


def _mirror(up: Lab) -> Mapping[str, str]:
    """A mirror in the cluster, as `mirror up` makes it; the environment that leads to it."""
    archive = ensure_mirror_archive()
    image = archive_reference(archive)
    up.load_image(archive)
    wait_until_image_reported(up, image)
    env = {"KUBECONFIG": str(up.kubeconfig)}
    words = ("--image", image, "--ca-bundle", CA_BUNDLE, "-o", "json")
    done: subprocess.CompletedProcess[str] = run_program("mirror", "up", *words, env=env)
    assert done.returncode == 0, done.stderr
    return {"UV_DEFAULT_INDEX": str(json.loads(done.stdout)["url"])}
