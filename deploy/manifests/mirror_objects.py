"""Render the mirror's objects from its settings: one function for each object."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from deploy.manifests.model import (
    CA_MAP,
    CLAIM_NAME,
    ENV_MAP,
    NAME,
    PROXY_MAP,
    ClusterSettings,
    Object,
    build_labels,
    build_selector,
    new_object,
)
from deploy.manifests.monitoring import build_scrape_annotations, render_monitoring
from deploy.manifests.pods import DATA_DIR, TMP_DIR, render_stateful_set
from mirror import devpi, nginx
from mirror.settings import Endpoint

_LINK_LOCAL = "169.254.0.0/16"


def render_objects(settings: ClusterSettings) -> tuple[Object, ...]:
    """Render all objects but the Secret and the record, in the order of application."""
    configs = [render_proxy_config(settings)]
    if settings.ca_pem:
        configs.append(render_ca_config(settings))
    return (
        render_namespace(settings.namespace),
        *configs,
        render_claim(settings),
        render_service(settings),
        render_network_policy(settings),
        *(render_monitoring(settings) if settings.monitoring else ()),
        render_stateful_set(settings, digest=_hash_objects(configs)),
    )


def render_namespace(name: str) -> Object:
    """The namespace; it enforces the Pod Security level `restricted`."""
    labels = build_labels() | {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def render_secret(namespace: str, values: Mapping[str, str]) -> Object:
    """The Secret with root's password and devpi's secretfile, which is created once."""
    secret = new_object("v1", "Secret", NAME, namespace)
    return secret | {"type": "Opaque", "stringData": dict(values)}


def render_config_map(namespace: str | None, name: str, data: Mapping[str, str]) -> Object:
    """A ConfigMap; ``namespace`` None leaves the namespace to whoever applies it."""
    return new_object("v1", "ConfigMap", name, namespace) | {"data": dict(data)}


def render_environment_map(namespace: str | None, endpoint: Endpoint) -> Object:
    """The ConfigMap that workloads take by `envFrom` to install from the mirror."""
    return render_config_map(namespace, ENV_MAP, endpoint.environment())


def render_proxy_config(settings: ClusterSettings) -> Object:
    config = nginx.render_config(
        listen=f"0.0.0.0:{settings.port}",
        devpi_port=devpi.DEVPI_PORT,
        cache_port=devpi.CACHE_PORT,
        data=DATA_DIR,
        scratch=TMP_DIR,
        health=f"0.0.0.0:{nginx.HEALTH_PORT}",
        has_rules=not settings.rules.are_plain,
        allowed_hosts=settings.allow_hosts,
    )
    return render_config_map(settings.namespace, PROXY_MAP, {"nginx.conf": config})


def render_ca_config(settings: ClusterSettings) -> Object:
    """The ConfigMap with the certificates to trust if the network intercepts TLS."""
    return render_config_map(settings.namespace, CA_MAP, {"ca.crt": settings.ca_pem or ""})


def render_claim(settings: ClusterSettings) -> Object:
    """The claim of the mirror's volume, which `mirror down` keeps."""
    claim = new_object("v1", "PersistentVolumeClaim", CLAIM_NAME, settings.namespace)
    spec: Object = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": settings.size}},
    }
    if settings.storage_class is not None:
        spec["storageClassName"] = settings.storage_class
    return claim | {"spec": spec}


def render_service(settings: ClusterSettings) -> Object:
    """The Service: IPv4 only, at the recorded address if there is one."""
    port: Object = {
        "name": "index",
        "port": settings.port,
        "targetPort": "index",
        "protocol": "TCP",
    }
    spec: Object = {
        "type": "NodePort" if settings.node_port else "ClusterIP",
        "ipFamilyPolicy": "SingleStack",
        "ipFamilies": ["IPv4"],
        "selector": build_selector(),
        "ports": [port],
    }
    if settings.node_port:
        port["nodePort"] = settings.node_port
    if settings.cluster_ip:
        spec["clusterIP"] = settings.cluster_ip
    service = new_object("v1", "Service", NAME, settings.namespace)
    if settings.monitoring:
        service["metadata"]["annotations"] = build_scrape_annotations(settings)
    return service | {"spec": spec}


def render_network_policy(settings: ClusterSettings) -> Object:
    """The NetworkPolicy: index and health checks in; DNS and IPv4 outside the cluster out."""
    excluded = sorted({*settings.cluster_cidrs, _LINK_LOCAL})
    spec: Object = {
        "podSelector": {"matchLabels": build_selector()},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [_render_port(settings.port), _render_port(nginx.HEALTH_PORT)]}],
        "egress": [
            {"ports": [_render_port(53, "UDP"), _render_port(53)]},
            {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": excluded}}]},
        ],
    }
    policy = new_object("networking.k8s.io/v1", "NetworkPolicy", NAME, settings.namespace)
    return policy | {"spec": spec}


def _render_port(number: int, protocol: str = "TCP") -> Object:
    return {"port": number, "protocol": protocol}


def _hash_objects(objects: Sequence[Object]) -> str:
    return hashlib.sha256(json.dumps(objects, sort_keys=True).encode()).hexdigest()[:16]
