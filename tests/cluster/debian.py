"""The Debian packages that the test cluster stands on, and the machine's own Debian mirror."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.process import run

PACKAGES = (
    "busybox-static",
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "docker.io",
    "iproute2",
    "iptables",
    "jq",
    "mmdebstrap",
    "nftables",
    "nginx-light",
    "openssh-client",
    "openssh-server",
    "openssl",
    "procps",
    "runc",
    "util-linux",
)

POLICY = Path("/usr/sbin/policy-rc.d")


def missing_packages(names: Iterable[str] = PACKAGES) -> tuple[str, ...]:
    """Those of the names that are not installed, sorted."""
    wanted = sorted(set(names))
    form = "${db:Status-Abbrev}\t${Package}\n"
    done = run("dpkg-query", "-W", "-f", form, *wanted, timeout=60, check=False)
    rows = (line.split("\t") for line in done.stdout.splitlines())
    installed = {row[1] for row in rows if row[0].startswith("ii")}
    return tuple(name for name in wanted if name not in installed)


def install_debian_packages(names: Iterable[str] = PACKAGES) -> tuple[str, ...]:
    """Install what is missing of the names and return it; needs root and apt sources.

    No service is started by the installation. Raises CommandFailed when apt-get does.
    """
    missing = missing_packages(names)
    if not missing:
        return ()
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with _services_held():
        run("apt-get", "update", timeout=300, env=env)
        argv = ("apt-get", "install", "-y", "--no-install-recommends", *missing)
        run(*argv, timeout=900, env=env)
    return missing


def debian_mirror() -> str:
    """The address this machine itself takes Debian packages of its own release from.

    Raises LookupError when apt names none.
    """
    codename = platform.freedesktop_os_release()["VERSION_CODENAME"]
    form = "$(REPO_URI) $(CODENAME) $(COMPONENT)"
    done = run("apt-get", "indextargets", "--format", form, "Created-By: Packages", timeout=60)
    for line in done.stdout.splitlines():
        address, *rest = line.split()
        if rest == [codename, "main"]:
            return address
    raise LookupError(f"apt has no source for {codename} main: add one, then run it again")


@contextmanager
def _services_held() -> Iterator[None]:
    """Keep packages from starting services; a policy that was there already stays as it was."""
    if POLICY.exists():
        yield
        return
    with tempfile.NamedTemporaryFile("w", dir=POLICY.parent, delete=False) as file:
        file.write("#!/bin/sh\nexit 101\n")
    Path(file.name).chmod(0o755)
    Path(file.name).rename(POLICY)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)
