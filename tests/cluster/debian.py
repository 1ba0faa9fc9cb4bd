"""The Debian packages that the test cluster needs, and the machine's Debian mirror."""

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
    """Return the packages that are not installed, sorted by name."""
    unique = sorted(set(names))
    row_format = "${db:Status-Abbrev}\t${Package}\n"
    query = run("dpkg-query", "-W", "-f", row_format, *unique, timeout=60, check=False)
    rows = (line.split("\t") for line in query.stdout.splitlines())
    installed = {row[1] for row in rows if row[0].startswith("ii")}
    return tuple(name for name in unique if name not in installed)


def install_debian_packages(names: Iterable[str] = PACKAGES) -> tuple[str, ...]:
    """Install the packages that are missing and return their names. Needs root.

    Does not start their services. Raises CommandError if apt-get fails.
    """
    missing = missing_packages(names)
    if not missing:
        return ()
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with _prevent_service_starts():
        run("apt-get", "update", timeout=300, env=env)
        argv = ("apt-get", "install", "-y", "--no-install-recommends", *missing)
        run(*argv, timeout=900, env=env)
    return missing


def debian_mirror() -> str:
    """Return the URL from which this machine gets the Debian packages of its own release.

    Raises LookupError if apt has no such source.
    """
    codename = platform.freedesktop_os_release()["VERSION_CODENAME"]
    row_format = "$(REPO_URI) $(CODENAME) $(COMPONENT)"
    argv = ("apt-get", "indextargets", "--format", row_format, "Created-By: Packages")
    for line in run(*argv, timeout=60).stdout.splitlines():
        address, *rest = line.split()
        if rest == [codename, "main"]:
            return address
    raise LookupError(f"apt has no source for {codename} main: add one and try again")


@contextmanager
def _prevent_service_starts() -> Iterator[None]:
    """Keep packages from starting services. An existing policy file is left alone."""
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
