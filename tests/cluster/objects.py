"""The objects that the lab puts into its cluster: CoreDNS, the StorageClass, the registry."""

from __future__ import annotations

from pathlib import Path
from string import Template

from tests.cluster import versions
from tests.cluster.options import REGISTRY_PORT, Site

FOLDER = Path(__file__).parent / "yaml"


def render_objects(site: Site) -> str:
    """All objects as one YAML stream, with the versions and addresses filled in."""
    values = {
        "COREDNS_IMAGE": versions.COREDNS_IMAGE,
        "PROVISIONER_IMAGE": versions.PROVISIONER_IMAGE,
        "REGISTRY_IMAGE": versions.REGISTRY_IMAGE,
        "BUSYBOX_IMAGE": versions.BUSYBOX_IMAGE,
        "DNS_SERVICE": str(site.dns_service),
        "REGISTRY_PORT": str(REGISTRY_PORT),
    }
    files = sorted(FOLDER.glob("*.yaml"))
    return "\n---\n".join(Template(file.read_text()).substitute(values) for file in files)
