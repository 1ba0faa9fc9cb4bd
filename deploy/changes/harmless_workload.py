"""Decide whether a DaemonSet can do nothing on a node but turn IPv6 off. Pure.

A runbook installed such a DaemonSet, privileged, and version 0.1.0 removed it without a seal. Its
stored copy may be a forged one. It counts only if every field has a form that is known here, so
that the worst that it can be made to do is what the runbook does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from deploy.formats.ipv6_script import only_disables_ipv6

_DOCKER = r"((docker\.io|index\.docker\.io|registry-1\.docker\.io)/)?(library/)?"
_VERSION = r"(:[\w.-]+)?(@sha256:[0-9a-f]{64})?"
# published by Docker and by Debian, Ubuntu, Alpine: none has an entry point of its own
_SYSTEM_IMAGE = re.compile(rf"{_DOCKER}(busybox|alpine|debian|ubuntu){_VERSION}")
_PAUSE_IMAGE = re.compile(
    r"(registry\.k8s\.io|k8s\.gcr\.io|gcr\.io/google[_-]containers)/pause(-amd64|-arm64)?"
    + _VERSION
)
_LABEL = re.compile(r"(app\.kubernetes\.io/)?[\w-]+")
_HOST_FOLDER = re.compile(r"/|/etc(/sysctl\.d|/sysctl\.conf)?|/proc(/sys)?|/sys|/lib/modules")
# not where the image has its programs and libraries
_MOUNT = re.compile(r"/(host|rootfs|node)(/[\w./-]+)?|/mnt/[\w-]+|/etc/sysctl(\.d|\.conf)")

Check = Callable[[Any], bool]


def is_harmless(spec: bytes) -> bool:
    """Return whether a DaemonSet with this spec only turns IPv6 off."""
    try:
        return _has_only(json.loads(spec), _SPEC)
    except (AttributeError, KeyError, TypeError, ValueError):
        return False


def find_unknown_images(spec: bytes) -> tuple[str, ...]:
    """Return the images whose programs are not known, if nothing else is wrong with the spec."""
    try:
        value = json.loads(spec)
        pod = value["template"]["spec"]
        containers = [*pod.get("initContainers", ()), *pod["containers"]]
        unknown = [c for c in containers if not _is_known(c["image"])]
        images = tuple(dict.fromkeys(str(container["image"]) for container in unknown))
        for container in unknown:
            container["image"] = "busybox"
        return images if _has_only(value, _SPEC) else ()
    except (AttributeError, KeyError, TypeError, ValueError):
        return ()


def _is_known(image: str) -> bool:
    return bool(_SYSTEM_IMAGE.fullmatch(image) or _PAUSE_IMAGE.fullmatch(image))


def _has_only(value: Any, checks: Mapping[str, Check]) -> bool:
    """Return whether an object has no other fields than these, each with a known form."""
    return isinstance(value, dict) and all(
        key in checks and checks[key](item) for key, item in value.items()
    )


def _any(value: Any) -> bool:  # noqa: ARG001 - a form that every value has
    return True


def _is_list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _is_one_of(*values: Any) -> Check:
    return lambda value: value in values


def _has_plain_labels(value: Any) -> bool:
    """Labels and annotations with other names can make a webhook change the pods."""
    return all(_LABEL.fullmatch(key) for key in value)


def _has_harmless_annotations(value: Any) -> bool:
    return set(value) <= {"kubectl.kubernetes.io/restartedAt"}


def _is_node_name(value: Any) -> bool:
    source = {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}
    return bool(value == {"name": "NODE_NAME", "valueFrom": source})


def _is_host_volume(value: Any) -> bool:
    return set(value) == {"name", "hostPath"} and bool(
        _HOST_FOLDER.fullmatch(value["hostPath"]["path"].rstrip("/") or "/")
    )


def _is_mount(value: Any) -> bool:
    known = {"name", "mountPath", "readOnly", "recursiveReadOnly", "mountPropagation"}
    path = value["mountPath"]
    return set(value) <= known and bool(_MOUNT.fullmatch(path)) and ".." not in path


def _is_container(value: Any) -> bool:
    if not _has_only(value, _CONTAINER):
        return False
    words = [*value.get("command", ()), *value.get("args", ())]
    if not words:
        return bool(_PAUSE_IMAGE.fullmatch(value["image"]))
    return bool(_SYSTEM_IMAGE.fullmatch(value["image"])) and only_disables_ipv6(words)


_CONTAINER: Mapping[str, Check] = {
    "name": _any,
    "image": _any,  # checked with the command
    "imagePullPolicy": _any,
    "command": _is_list_of(lambda word: isinstance(word, str)),
    "args": _is_list_of(lambda word: isinstance(word, str)),
    "env": _is_list_of(_is_node_name),
    "resources": _any,
    "securityContext": _any,
    "terminationMessagePath": _is_one_of("/dev/termination-log"),
    "terminationMessagePolicy": _any,
    "volumeMounts": _is_list_of(_is_mount),
}
_POD: Mapping[str, Check] = {
    "containers": _is_list_of(_is_container),
    "initContainers": _is_list_of(_is_container),
    "volumes": _is_list_of(_is_host_volume),
    "hostPID": _any,
    "hostNetwork": _any,
    "hostIPC": _any,
    "securityContext": _any,
    "serviceAccount": _is_one_of("default"),
    "serviceAccountName": _is_one_of("default"),
    "automountServiceAccountToken": _any,
    "enableServiceLinks": _any,
    "schedulerName": _is_one_of("default-scheduler"),
    "restartPolicy": _any,
    "dnsPolicy": _any,
    "terminationGracePeriodSeconds": _any,
    "priorityClassName": _any,
    "nodeSelector": _any,
    "affinity": _any,
    "tolerations": _any,
}
_TEMPLATE: Mapping[str, Check] = {
    "metadata": lambda value: _has_only(
        value,
        {
            "labels": _has_plain_labels,
            "annotations": _has_harmless_annotations,
            "creationTimestamp": _is_one_of(None),
        },
    ),
    "spec": lambda value: _has_only(value, _POD),
}
_SPEC: Mapping[str, Check] = {
    "selector": _any,
    "updateStrategy": _any,
    "revisionHistoryLimit": _any,
    "minReadySeconds": _any,
    "template": lambda value: _has_only(value, _TEMPLATE),
}
