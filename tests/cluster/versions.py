"""The versions of everything in the test cluster."""

from __future__ import annotations

KUBERNETES = "1.34.4"
"""Later versions drop more of cgroup v1, which some test machines still use."""

COREDNS = "1.12.4"
CADDY = "v1.1.2-0.20241029205200-8de985351a98"
"""The version with which COREDNS parses its Corefile."""

LOCAL_PATH_PROVISIONER = "0.0.30"
REGISTRY = "3.0.0"
HELM = "3.19.0"

CALICO = "v1.11.0-cni-plugin.0.20250813170300-a0db560f0520"
"""Calico 3.28's release branch. The module has no newer tag."""

CALICO_API = "v0.0.0-20240708202104-e3f70b269c2c"
HCSSHIM = "v0.11.7"

GO = "1.24.6"
"""Downloaded if the installed Go is older than Kubernetes requires."""

GO_MINIMUM = (1, 21)
"""From this version on, the go command downloads a newer toolchain when a module requires it."""

DEBIAN_SUITE = "trixie"
"""The suite of the base image: its python3 is 3.13, as in python:3.13-slim-trixie."""
BASE_IMAGE = "python:3.13-slim-trixie"
BUSYBOX_IMAGE = "busybox:1.36"
PAUSE_IMAGE = "lab/pause:1"
COREDNS_IMAGE = f"coredns:{COREDNS}"
PROVISIONER_IMAGE = f"lab/local-path-provisioner:{LOCAL_PATH_PROVISIONER}"
CALICO_IMAGE = "lab/calico-node:1"
REGISTRY_IMAGE = f"lab/registry:{REGISTRY}"
