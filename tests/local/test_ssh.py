"""Deliver an image with the real ssh to a real sshd on loopback."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.delivery import DeliveryOptions
from deploy.delivery.ssh import DELIVERY
from mirror.core.errors import DeliveryError
from mirror.core.progress import SILENT
from mirror.core.wait import Deadline, wait_until
from mirror.local.processes import find_free_port
from tests.cluster.debian import install_debian_packages
from tests.unit.deploy.delivery.fakes import IMAGE, FakeImageEngine, make_cluster, make_node

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="installs and starts an sshd of its own")

# stands in for sudo on the node: records its arguments and its standard input
SUDO = '#!/bin/sh\nprintf "%s\\n" "$*" > {folder}/arguments\ncat > {folder}/tar\n'


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """An ssh command template for the server, and the folder where its `sudo` records calls."""
    install_debian_packages(("openssh-server", "openssh-client"))
    folder = tmp_path_factory.mktemp("node")
    for name in ("host", "client", "stranger"):
        keygen = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
        subprocess.run(keygen, check=True, timeout=30)
    sudo = folder / "sudo"
    sudo.write_text(SUDO.format(folder=folder))
    sudo.chmod(0o755)
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    port = find_free_port()
    options = (
        f"HostKey={folder}/host",
        f"AuthorizedKeysFile={folder}/client.pub",
        f"ListenAddress=127.0.0.1:{port}",
        f"PidFile={folder}/pid",
        "StrictModes=no",
        "PasswordAuthentication=no",
        "PermitRootLogin=prohibit-password",
        "UsePAM=no",
    )
    sshd = ("/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null")
    server = subprocess.Popen(
        [*sshd, *(argument for option in options for argument in ("-o", option))],
        stdout=subprocess.DEVNULL,
        stderr=(folder / "log").open("wb"),
    )
    try:
        wait_until(
            lambda: _is_listening(port),
            deadline=Deadline.after(60),
            what="sshd listens",
            why=lambda: (folder / "log").read_text(),
        )
        user = pwd.getpwuid(os.getuid()).pw_name
        common = "-o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
        # the stand-in for sudo comes first on the PATH
        yield (
            (
                f"ssh -F /dev/null {common} -o IdentitiesOnly=yes -i {folder}/client -p {port} "
                f"{user}@{{address}} env PATH={folder}:/usr/bin:/bin"
            ),
            folder,
        )
    finally:
        server.terminate()
        server.wait(10)


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_imports_the_image_on_the_node(ssh: tuple[str, Path]) -> None:
    template, folder = ssh
    cluster = make_cluster(make_node("a", address="127.0.0.1"))
    delivery = DELIVERY.deliver(
        IMAGE, FakeImageEngine().as_client(), cluster, DeliveryOptions(ssh=template), SILENT
    )
    assert delivery.nodes == ("a",)
    assert (folder / "arguments").read_text() == "-n ctr -n k8s.io images import -\n"
    assert (folder / "tar").read_bytes() == b"the image"


def test_names_the_node_that_refuses_the_key(ssh: tuple[str, Path]) -> None:
    template, _ = ssh
    options = DeliveryOptions(ssh=template.replace("/client ", "/stranger "))
    with pytest.raises(DeliveryError, match="not imported on a"):
        DELIVERY.deliver(
            IMAGE,
            FakeImageEngine().as_client(),
            make_cluster(make_node("a", address="127.0.0.1")),
            options,
            SILENT,
        )
