"""The mirror's objects: settings → Kubernetes objects. Pure; one function an object."""

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
from deploy.manifests.pods import DATA_DIR, TMP_DIR, render_stateful_set
from mirror import devpi, nginx
from mirror.settings import Endpoint

_LINK_LOCAL = "169.254.0.0/16"


def render_objects(settings: ClusterSettings) -> tuple[Object, ...]:
    """Everything but the Secret and the record, in the order of application."""
    front = render_proxy_config(settings)
    authority = [render_ca_config(settings)] if settings.ca_pem else []
    return (
        render_namespace(settings.namespace),
        front,
        *authority,
        render_claim(settings),
        render_service(settings),
        render_network_policy(settings),
        render_stateful_set(settings, digest=_digest([front, *authority])),
    )


def render_namespace(name: str) -> Object:
    """Its pods pass Pod Security `restricted`, and the namespace insists on it."""
    meta: Object = {
        "name": name,
        "labels": build_labels() | {"pod-security.kubernetes.io/enforce": "restricted"},
    }
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}


def render_secret(namespace: str, values: Mapping[str, str]) -> Object:
    """The root password and devpi's secretfile; made once, never applied over."""
    body = new_object("v1", "Secret", NAME, namespace)
    return body | {"type": "Opaque", "stringData": dict(values)}


def render_config_map(namespace: str, name: str, data: Mapping[str, str]) -> Object:
    """A ConfigMap of ours."""
    return new_object("v1", "ConfigMap", name, namespace) | {"data": dict(data)}


def render_environment_map(namespace: str | None, endpoint: Endpoint) -> Object:
    """What a workload takes by `envFrom`; None leaves the namespace to whoever applies it."""
    made = render_config_map(namespace or "", ENV_MAP, endpoint.environment())
    if namespace is None:
        del made["metadata"]["namespace"]
    return made


def render_proxy_config(settings: ClusterSettings) -> Object:
    """nginx's configuration."""
    text = nginx.render_config(
        listen=f"0.0.0.0:{settings.port}",
        devpi_port=devpi.DEVPI_PORT,
        cache_port=devpi.CACHE_PORT,
        data=DATA_DIR,
        scratch=TMP_DIR,
        health=f"0.0.0.0:{nginx.HEALTH_PORT}",
    )
    return render_config_map(settings.namespace, PROXY_MAP, {"nginx.conf": text})


def render_ca_config(settings: ClusterSettings) -> Object:
    """The certificates that devpi trusts where the network intercepts TLS."""
    return render_config_map(settings.namespace, CA_MAP, {"ca.crt": settings.ca_pem or ""})


def render_claim(settings: ClusterSettings) -> Object:
    """The volume; it outlives `mirror down`."""
    spec: Object = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": settings.size}},
    }
    if settings.storage_class is not None:
        spec["storageClassName"] = settings.storage_class
    return new_object("v1", "PersistentVolumeClaim", CLAIM_NAME, settings.namespace) | {
        "spec": spec
    }


def render_service(settings: ClusterSettings) -> Object:
    """SingleStack IPv4, and always the same address."""
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
    return new_object("v1", "Service", NAME, settings.namespace) | {"spec": spec}


def render_network_policy(settings: ClusterSettings) -> Object:
    """In: the index and the probes. Out: DNS, and IPv4 outside of the cluster only."""
    outside: Object = {
        "cidr": "0.0.0.0/0",
        "except": sorted({*settings.cluster_cidrs, _LINK_LOCAL}),
    }
    spec: Object = {
        "podSelector": {"matchLabels": build_selector()},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [_port(settings.port), _port(nginx.HEALTH_PORT)]}],
        "egress": [
            {"ports": [_port(53, "UDP"), _port(53)]},
            {"to": [{"ipBlock": outside}]},
        ],
    }
    body = new_object("networking.k8s.io/v1", "NetworkPolicy", NAME, settings.namespace)
    return body | {"spec": spec}


def _port(number: int, protocol: str = "TCP") -> Object:
    return {"port": number, "protocol": protocol}


def _digest(parts: Sequence[Object]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
