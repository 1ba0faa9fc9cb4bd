"""Measure pods from their creation until they answer /health.

Some install their packages when they start; others have an image with the packages.
"""

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
    engine: DockerEngine, runtime_image: str, application_image: str, repeats: int
) -> Mapping[str, list[float]]:
    """Return the seconds of each start, by the source of the packages.

    Both images are on the node before the first start.
    """
    with _running_lab() as lab:
        for image in (runtime_image, application_image):
            with tempfile.NamedTemporaryFile(suffix=".tar") as tar:
                engine.docker("save", "--output", tar.name, image, timeout=300)
                lab.load_image(Path(tar.name))
        lab.kubectl("create", "configmap", "ca", f"--from-file=ca.crt={CA_BUNDLE}")
        mirror = _start_mirror(lab)
        upstream = {"UV_DEFAULT_INDEX": read_default_upstream()}
        sources = {
            "from upstream": (runtime_image, upstream, 1),
            "from the mirror, cold": (runtime_image, mirror, 1),
            "from the mirror, warm": (runtime_image, mirror, repeats),
            "build-image": (application_image, {}, repeats),
        }
        return {
            name: [measure_pod_start(lab, image, env) for _ in range(count)]
            for name, (image, env, count) in sources.items()
        }


def measure_pod_start(lab: Lab, image: str, env: Mapping[str, str]) -> float:
    """Return the seconds from the creation of a pod to its first answer, measured on its node."""
    (node,) = lab.nodes
    variables = {**dict.fromkeys(SECRETS, "only-in-the-benchmark"), **env, "SSL_CERT_FILE": _CA}
    container: dict[str, Any] = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "env": [{"name": key, "value": value} for key, value in variables.items()],
        "volumeMounts": [{"name": "ca", "mountPath": "/etc/ca"}],
    }
    volumes = [{"name": "ca", "configMap": {"name": "ca"}}]
    options = [{"name": "ndots", "value": "1"}]
    spec: dict[str, Any] = {"containers": [container], "volumes": volumes}
    spec |= {"dnsConfig": {"options": options}, "terminationGracePeriodSeconds": 0}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "started"}, "spec": spec}
    start = time.monotonic()
    lab.kubectl("create", "-f", "-", stdin=json.dumps(pod))
    try:
        address = ""
        while time.monotonic() - start < START_TIMEOUT:
            query = ("get", "pod", "started", "-o", "jsonpath={.status.podIP}")
            address = address or lab.kubectl(*query)
            if address and _is_healthy(lab, node, address):
                return time.monotonic() - start
            time.sleep(0.2)
        raise AssertionError(lab.kubectl("logs", "started", "--tail=30"))
    finally:
        lab.kubectl("delete", "pod", "started", "--wait=true", "--ignore-not-found")


def _is_healthy(lab: Lab, node: str, address: str) -> bool:
    command = ("timeout", "2", "busybox", "wget", "-q", "-O", "-", f"http://{address}:8000/health")
    return lab.exec(node, *command, check=False).returncode == 0


@contextmanager
def _running_lab() -> Iterator[Lab]:
    """Run a lab with one node, whose pods reach the upstream by its host names."""
    with httpx.Client(headers={"Accept": SIMPLE_JSON}, timeout=60) as client:
        page = client.get(f"{read_default_upstream()}idna/").raise_for_status().json()
    urls = (read_default_upstream(), page["files"][0]["url"])
    names = {str(urlsplit(url).hostname) for url in urls}
    hosts = {name: socket.gethostbyname(name) for name in names}
    options = LabOptions(name=f"bench-{os.getpid()}", nodes=("anubis",), hosts=hosts)
    with running_lab(options) as lab:
        yield lab


def _start_mirror(lab: Lab) -> Mapping[str, str]:
    """Run `mirror up` in the cluster; return the environment that selects the mirror."""
    archive = ensure_mirror_archive()
    image = archive_reference(archive)
    lab.load_image(archive)
    wait_until_image_reported(lab, image)
    env = {"KUBECONFIG": str(lab.kubeconfig)}
    options = ("--image", image, "--ca-bundle", CA_BUNDLE, "-o", "json")
    result: subprocess.CompletedProcess[str] = run_program("mirror", "up", *options, env=env)
    assert result.returncode == 0, result.stderr
    return {"UV_DEFAULT_INDEX": str(json.loads(result.stdout)["url"])}
