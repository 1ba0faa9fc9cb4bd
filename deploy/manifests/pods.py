"""Render the mirror's pod: devpi, the cache and the proxy as containers of one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from deploy.manifests.image_versions import adapt_command
from deploy.manifests.model import (
    CA_MAP,
    CLAIM_NAME,
    LINUX,
    NAME,
    PROXY_MAP,
    ClusterSettings,
    Object,
    build_labels,
    build_selector,
    new_object,
)
from mirror import devpi, nginx, volume
from mirror.settings import ServerSettings

UID = 10001  # the image's user
TMP_DIR = PurePosixPath("/tmp")  # an emptyDir of the pod
DATA_DIR = PurePosixPath("/data")  # the volume

_RUN_DIR = PurePosixPath("/run/mirror")
_SECRETS_DIR = PurePosixPath("/etc/mirror/secrets")
_PROXY_CONFIG_DIR = PurePosixPath("/etc/mirror/front")
_CA_DIR = PurePosixPath("/etc/mirror/ca")
_PATHS = devpi.DevpiPaths(serverdir=DATA_DIR / volume.DEVPI, run_dir=_RUN_DIR / "devpi")


class _Mount(NamedTuple):
    volume: str
    path: PurePosixPath
    read_only: bool = False


_DATA = _Mount("data", DATA_DIR)
_RUN = _Mount("run", _RUN_DIR)
_TMP = _Mount("tmp", TMP_DIR)


def render_stateful_set(settings: ClusterSettings, *, digest: str) -> Object:
    """Render the StatefulSet of the mirror; a changed ``digest`` restarts its pod."""
    template: Object = {
        "metadata": {"labels": build_labels(), "annotations": {f"{NAME}/config": digest}},
        "spec": render_pod_spec(
            containers=[
                _render_devpi_container(settings),
                _render_cache_container(settings),
                _render_proxy_container(settings),
            ],
            init_containers=[_render_prepare_container(settings)],
            volumes=_render_volumes(settings),
            grace_seconds=20,
        ),
    }
    if settings.node:
        template["spec"]["nodeSelector"] |= {"kubernetes.io/hostname": settings.node}
    template["spec"] |= render_pull_secrets(settings.pull_secret)
    spec: Object = {
        "replicas": 1,  # devpi allows one writer
        "serviceName": NAME,
        "selector": {"matchLabels": build_selector()},
        "template": template,
    }
    return new_object("apps/v1", "StatefulSet", NAME, settings.namespace) | {"spec": spec}


def render_probe_pod(
    settings: ClusterSettings, *, name: str, node: str, command: Sequence[str]
) -> Object:
    """Render a pod on the given node that runs one program of the image to completion."""
    container = render_container("probe", settings, command, memory="256Mi", mounts=[_TMP])
    spec = render_pod_spec(containers=[container], volumes=[{"name": "tmp", "emptyDir": {}}])
    spec |= {"nodeName": node, "restartPolicy": "Never", "tolerations": [{"operator": "Exists"}]}
    spec |= render_pull_secrets(settings.pull_secret)
    return new_object("v1", "Pod", name, settings.namespace, component="probe") | {"spec": spec}


def render_pull_secrets(secret: str | None) -> Object:
    """Render the field of a pod spec that names the Secret of the image's registry."""
    return {"imagePullSecrets": [{"name": secret}]} if secret else {}


def render_pod_spec(
    *,
    containers: Sequence[Object],
    init_containers: Sequence[Object] = (),
    volumes: Sequence[Object] = (),
    grace_seconds: int = 0,
) -> Object:
    """Render a pod spec that meets the Pod Security level `restricted`.

    With ndots 1 the resolver tries names as given first, so no search domain can break them.
    """
    spec: Object = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]},
        "terminationGracePeriodSeconds": grace_seconds,
        "nodeSelector": dict(LINUX),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": UID,
            "runAsGroup": UID,
            "fsGroup": UID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": list(containers),
        "volumes": list(volumes),
    }
    if init_containers:
        spec["initContainers"] = list(init_containers)
    return spec


# -- containers ---------------------------------------------------------------------------------


def render_container(
    name: str,
    settings: ClusterSettings,
    command: Sequence[str],
    *,
    memory: str,
    requests: tuple[str, str] = ("50m", "64Mi"),
    cpu: str = "2",
    variables: Mapping[str, str] | None = None,
    mounts: Sequence[_Mount] = (),
) -> Object:
    """Render a container; ``memory`` and ``cpu`` are its limits, ``requests`` CPU and memory."""
    container: Object = {
        "name": name,
        "image": settings.image,
        "imagePullPolicy": "IfNotPresent",
        "command": adapt_command(command, is_0_1=settings.image_is_0_1),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {
            "requests": {"cpu": requests[0], "memory": requests[1]},
            "limits": {"cpu": cpu, "memory": memory},
        },
    }
    if mounts:
        container["volumeMounts"] = [_render_mount(mount) for mount in mounts]
    if variables:
        container["env"] = [{"name": key, "value": value} for key, value in variables.items()]
    return container


def _render_prepare_container(settings: ClusterSettings) -> Object:
    command = ["python3", "-m", "mirror.store.prepare", "--serverdir", str(_PATHS.serverdir)]
    command += ["--run", str(_PATHS.run_dir), "--secrets", str(_SECRETS_DIR)]
    secrets = _Mount("secrets", _SECRETS_DIR, read_only=True)
    return render_container(
        "prepare", settings, command, memory="512Mi", mounts=[_DATA, _RUN, _TMP, secrets]
    )


def _render_devpi_container(settings: ClusterSettings) -> Object:
    """Render devpi's container, without probes: it has few threads, and the proxy has probes."""
    server = ServerSettings(upstream=settings.upstream)
    markers = DATA_DIR / volume.PRIVATE
    command = devpi.build_server_argv(
        "python3", _PATHS, server, port=devpi.DEVPI_PORT, markers=markers
    )
    container = render_container(
        "devpi",
        settings,
        command,
        memory="1Gi",
        requests=("250m", "256Mi"),
        variables=devpi.build_ca_environment(_get_ca_bundle(settings)),
        mounts=[_DATA, _RUN, _TMP, *_get_ca_mounts(settings)],
    )
    return container | {"startupProbe": _render_startup_probe("/started")}


def _render_cache_container(settings: ClusterSettings) -> Object:
    command = devpi.build_cache_argv(
        "python3",
        root=DATA_DIR / volume.PUBLIC,
        port=devpi.CACHE_PORT,
        upstream=settings.upstream,
        ca_bundle=_get_ca_bundle(settings),
        # version 0.1 does not know it
        requests=None if settings.image_is_0_1 else TMP_DIR / nginx.REQUEST_LOG,
        rules=settings.rules,
    )
    container = render_container(
        "public",
        settings,
        command,
        memory="512Mi",
        requests=("100m", "128Mi"),
        variables=devpi.build_cache_environment(),
        mounts=[_DATA, _TMP, *_get_ca_mounts(settings)],
    )
    return container | {"startupProbe": _render_startup_probe("/public")}


def _render_proxy_container(settings: ClusterSettings) -> Object:
    command = nginx.build_argv("nginx", TMP_DIR, _PROXY_CONFIG_DIR / "nginx.conf")
    config = _Mount("front", _PROXY_CONFIG_DIR, read_only=True)
    mounts = [config, _DATA._replace(read_only=True), _TMP]
    container = render_container("front", settings, command, memory="256Mi", mounts=mounts)
    return container | {
        "ports": [
            {"name": "index", "containerPort": settings.port, "protocol": "TCP"},
            {"name": "health", "containerPort": nginx.HEALTH_PORT, "protocol": "TCP"},
        ],
        "readinessProbe": _render_probe("/healthz", periodSeconds=2),
        "livenessProbe": _render_probe("/healthz", periodSeconds=10, timeoutSeconds=5),
    }


def _render_startup_probe(path: str) -> Object:
    return _render_probe(path, periodSeconds=1, failureThreshold=120)


def _render_probe(path: str, **settings: int) -> Object:
    return {"httpGet": {"path": path, "port": nginx.HEALTH_PORT}, **settings}


def _render_mount(mount: _Mount) -> Object:
    obj = {"name": mount.volume, "mountPath": str(mount.path)}
    return obj | ({"readOnly": True} if mount.read_only else {})


def _render_volumes(settings: ClusterSettings) -> list[Object]:
    volumes: list[Object] = [
        {"name": "data", "persistentVolumeClaim": {"claimName": CLAIM_NAME}},
        {"name": "secrets", "secret": {"secretName": NAME}},
        {"name": "front", "configMap": {"name": PROXY_MAP}},
        {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "tmp", "emptyDir": {}},
    ]
    if settings.ca_pem:
        volumes.append({"name": "ca", "configMap": {"name": CA_MAP}})
    return volumes


def _get_ca_bundle(settings: ClusterSettings) -> str | None:
    return str(_CA_DIR / "ca.crt") if settings.ca_pem else None


def _get_ca_mounts(settings: ClusterSettings) -> list[_Mount]:
    return [_Mount("ca", _CA_DIR, read_only=True)] if settings.ca_pem else []
