"""What in a workload, or around it, overrides, reverts or defeats an attachment. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from deploy.changes.attachment import get_pod_spec, get_pod_template
from deploy.changes.model import ObjectSpec
from deploy.cluster.client import Object
from deploy.cluster.managers import find_manager, is_reconciling
from deploy.cluster.objects import get_all_containers
from deploy.evidence.isolation import EgressRules, render_allow_command
from deploy.evidence.startup import INDEX_VARIABLES, find_proxy
from deploy.manifests.model import ENV_MAP

_EXTRA_INDEXES = ("UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL")
_CONFIG_FILES = ("PIP_CONFIG_FILE", "UV_CONFIG_FILE")
_UV = re.compile(r"(^|[\s/])uvx?(\s|$)")
_CACHES = ("UV_CACHE_DIR", "UV_NO_CACHE", "XDG_CACHE_HOME")


def describe_workload(
    target: ObjectSpec, obj: Object, *, index: bool, mirror_namespace: str, rules: EgressRules
) -> Iterator[str]:
    """Yield a note for each reason why the attachment does not do, or not for long, what it says.

    ``index``: the index is attached, not only ndots.
    """
    if manager := find_manager(obj):
        if is_reconciling(manager):
            yield f"{target}: {manager} keeps it and puts its own version back"
        else:
            yield f"{target}: {manager} manages it and may change it back (mirror status: drifted)"
    pod = get_pod_spec(target.kind, obj["spec"])
    if obj["spec"].get("updateStrategy", {}).get("type") == "OnDelete":
        yield (
            f"{target}: its update strategy is OnDelete, so running pods keep the old environment "
            "until you delete them"
        )
    if not index:
        return
    for container in get_all_containers(pod):
        for note in _describe_container(container, rules):
            yield f"{target}: container {container['name']} {note}"
    labels = get_pod_template(target.kind, obj["spec"]).get("metadata", {}).get("labels") or {}
    if rules.mirror and (denying := rules.list_denying(target.namespace or "", labels)):
        command = render_allow_command(target.namespace or "", mirror_namespace, rules.mirror.port)
        yield (
            f"{target}: NetworkPolicy {', '.join(denying)} of namespace {target.namespace} keeps "
            f"its pods from the mirror; let them through: {command}"
        )


def _describe_container(container: Object, rules: EgressRules) -> Iterator[str]:
    variables = {each["name"]: each.get("value") for each in container.get("env") or ()}
    if own := [name for name in variables if name in INDEX_VARIABLES]:
        yield (
            f"sets {', '.join(own)} itself, which overrides the ConfigMap: remove it from its env"
        )
    if extra := [name for name in variables if name in _EXTRA_INDEXES]:
        yield f"sets {', '.join(extra)}: packages may still come from another index"
    if files := [name for name in variables if name in _CONFIG_FILES]:
        yield f"sets {', '.join(files)}: an index in that file is asked as well"
    for source in container.get("envFrom") or ():
        if source.get("configMapRef", {}).get("name") == ENV_MAP and source.get("prefix"):
            yield (
                f"takes ConfigMap {ENV_MAP} with the prefix {source['prefix']}, which no installer "
                "reads: it is added again without one"
            )
    if rules.mirror and (
        found := find_proxy(variables, rules.mirror.addresses[0], rules.mirror.port)
    ):
        proxy, exceptions = found
        assignments = " ".join(f"{name}={value}" for name, value in exceptions.items())
        yield f"sets {proxy} and asks that proxy for the mirror: add its address, {assignments}"
    if _runs_uv(container) and _has_no_cache(container, variables):
        yield (
            "runs uv with a read-only root file system: mount an emptyDir and set UV_CACHE_DIR to "
            "it, or set UV_NO_CACHE=1 and mount one at /tmp"
        )


def _runs_uv(container: Object) -> bool:
    words = [*(container.get("command") or ()), *(container.get("args") or ())]
    return bool(_UV.search(" ".join(words)))


def _has_no_cache(container: Object, variables: Mapping[str, str | None]) -> bool:
    security = container.get("securityContext") or {}
    if not security.get("readOnlyRootFilesystem") or any(name in variables for name in _CACHES):
        return False
    mounts = [m["mountPath"] for m in container.get("volumeMounts") or () if not m.get("readOnly")]
    return not any("cache" in path or path.startswith(("/root", "/home")) for path in mounts)
