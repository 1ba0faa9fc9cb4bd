"""The mirror's pod and its probes: two containers of one image, and an init container."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from deploy.manifests.model import (
    CA_MAP,
    CLAIM_NAME,
    NAME,
    PROXY_MAP,
    ClusterSettings,
    Object,
    build_labels,
    build_selector,
    new_object,
)
from mirror import devpi, nginx
from mirror.settings import ServerSettings

UID = 10001  # the image's user
TMP_DIR = PurePosixPath("/tmp")  # an emptyDir of the pod
DATA_DIR = PurePosixPath("/data")  # the volume

_RUN = PurePosixPath("/run/mirror")
_SECRETS = PurePosixPath("/etc/mirror/secrets")
_CONFIG = PurePosixPath("/etc/mirror/front")
_CA = PurePosixPath("/etc/mirror/ca")


def render_stateful_set(settings: ClusterSettings, *, digest: str) -> Object:
    """devpi, what fetches public packages, and the front: containers of one image.

    ``digest`` restarts them on a change.
    """
    template: Object = {
        "metadata": {"labels": build_labels(), "annotations": {f"{NAME}/config": digest}},
        "spec": render_pod_spec(
            containers=[_devpi(settings), _public(settings), _front(settings)],
            init_containers=[_prepare(settings)],
            volumes=_volumes(settings),
            grace_seconds=20,
        ),
    }
    if settings.node:
        template["spec"]["nodeSelector"] = {"kubernetes.io/hostname": settings.node}
    spec: Object = {
        "replicas": 1,  # devpi has one writer
        "serviceName": NAME,
        "selector": {"matchLabels": build_selector()},
        "template": template,
    }
    return new_object("apps/v1", "StatefulSet", NAME, settings.namespace) | {"spec": spec}


def render_probe_pod(
    settings: ClusterSettings, *, name: str, node: str, command: Sequence[str]
) -> Object:
    """A pod on one node that runs one program of the image to its end."""
    spec = render_pod_spec(
        containers=[
            _container("probe", settings, command, memory="256Mi")
            | {"volumeMounts": [_mount("tmp", TMP_DIR)]}
        ],
        init_containers=[],
        volumes=[{"name": "tmp", "emptyDir": {}}],
        grace_seconds=0,
    )
    spec |= {
        "nodeName": node,
        "restartPolicy": "Never",
        "tolerations": [{"operator": "Exists"}],
    }
    body = new_object("v1", "Pod", name, settings.namespace)
    body["metadata"]["labels"] = build_labels("probe")
    return body | {"spec": spec}


def render_pod_spec(
    *,
    containers: Sequence[Object],
    init_containers: Sequence[Object],
    volumes: Sequence[Object],
    grace_seconds: int,
) -> Object:
    """A pod that passes Pod Security `restricted`; ndots 1: no search domain can break it."""
    spec: Object = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]},
        "terminationGracePeriodSeconds": grace_seconds,
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


def _container(
    name: str, settings: ClusterSettings, command: Sequence[str], *, memory: str
) -> Object:
    return {
        "name": name,
        "image": settings.image,
        "imagePullPolicy": settings.pull_policy,
        "command": list(command),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {
            "requests": {"cpu": "50m", "memory": "64Mi"},
            "limits": {"cpu": "2", "memory": memory},
        },
    }


def _prepare(settings: ClusterSettings) -> Object:
    layout = _layout()
    command = ["python3", "-m", "mirror.store.prepare", "--serverdir", str(layout.serverdir)]
    command += ["--run", str(layout.run_dir), "--secrets", str(_SECRETS)]
    mounts = [_mount("data", DATA_DIR), _mount("run", _RUN), _mount("tmp", TMP_DIR)]
    mounts += [_mount("secrets", _SECRETS) | {"readOnly": True}]
    made = _container("prepare", settings, command, memory="512Mi")
    return made | {"volumeMounts": mounts}


def _devpi(settings: ClusterSettings) -> Object:
    server = ServerSettings(upstream=settings.upstream)
    command = devpi.build_server_argv(
        "python3", _layout(), server, port=devpi.DEVPI_PORT, markers=DATA_DIR / "private"
    )
    made = _container("devpi", settings, command, memory="1Gi")
    made["resources"]["requests"] = {"cpu": "250m", "memory": "256Mi"}
    mounts = [_mount("data", DATA_DIR), _mount("run", _RUN), _mount("tmp", TMP_DIR)]
    if settings.ca_pem:
        mounts += [_mount("ca", _CA) | {"readOnly": True}]
        variables = devpi.build_ca_environment(str(_CA / "ca.crt"))
        made["env"] = [{"name": key, "value": value} for key, value in variables.items()]
    # until it has started; afterwards nothing is asked of devpi's few threads
    started = {"httpGet": {"path": "/started", "port": nginx.HEALTH_PORT}}
    made["startupProbe"] = started | {"periodSeconds": 1, "failureThreshold": 120}
    return made | {"volumeMounts": mounts}


def _public(settings: ClusterSettings) -> Object:
    command = devpi.build_cache_argv(
        "python3",
        root=DATA_DIR / "public",
        port=devpi.CACHE_PORT,
        upstream=settings.upstream,
        ca_bundle=str(_CA / "ca.crt") if settings.ca_pem else None,
    )
    made = _container("public", settings, command, memory="512Mi")
    made["resources"]["requests"] = {"cpu": "100m", "memory": "128Mi"}
    mounts = [_mount("data", DATA_DIR), _mount("tmp", TMP_DIR)]
    if settings.ca_pem:
        mounts += [_mount("ca", _CA) | {"readOnly": True}]
    variables = devpi.build_cache_environment()
    made["env"] = [{"name": key, "value": value} for key, value in variables.items()]
    started = {"httpGet": {"path": "/public", "port": nginx.HEALTH_PORT}}
    made["startupProbe"] = started | {"periodSeconds": 1, "failureThreshold": 120}
    return made | {"volumeMounts": mounts}


def _front(settings: ClusterSettings) -> Object:
    command = nginx.build_argv("nginx", TMP_DIR, _CONFIG / "nginx.conf")
    made = _container("front", settings, command, memory="256Mi")
    healthy = {"httpGet": {"path": "/healthz", "port": nginx.HEALTH_PORT}}
    made |= {
        "ports": [
            {"name": "index", "containerPort": settings.port, "protocol": "TCP"},
            {"name": "health", "containerPort": nginx.HEALTH_PORT, "protocol": "TCP"},
        ],
        "readinessProbe": healthy | {"periodSeconds": 2},
        "livenessProbe": healthy | {"periodSeconds": 10, "timeoutSeconds": 5},
        "volumeMounts": [
            _mount("front", _CONFIG) | {"readOnly": True},
            _mount("data", DATA_DIR) | {"readOnly": True},
            _mount("tmp", TMP_DIR),
        ],
    }
    return made


def _volumes(settings: ClusterSettings) -> list[Object]:
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


def _layout() -> devpi.DevpiPaths:
    return devpi.DevpiPaths(serverdir=DATA_DIR / "devpi", run_dir=_RUN / "devpi")


def _mount(name: str, path: PurePosixPath) -> Object:
    return {"name": name, "mountPath": str(path)}
