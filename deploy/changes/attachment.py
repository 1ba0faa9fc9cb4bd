"""What `mirror attach` writes into a workload: the index in every container, and ndots 1. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deploy.changes.model import CannotEdit, Change, Edit, ObjectSpec, Target
from deploy.manifests.model import ENV_MAP
from mirror.merge import decode_spec, encode_spec

NAME = "attach"
KINDS = ("Deployment", "StatefulSet", "DaemonSet", "CronJob")
IMPACT = (
    "its pods are replaced; with ndots 1 short names such as service.namespace stop resolving in "
    "them (service.namespace.svc.cluster.local still resolves)"
)


def plan_attachments(
    targets: Sequence[ObjectSpec], *, index: bool, ndots: bool
) -> tuple[Change, ...]:
    """Return the same edit for each of these workloads."""
    reasons = [f"containers get the variables of ConfigMap {ENV_MAP}"] if index else []
    reasons += ["names with a dot are tried as they are first (ndots 1)"] if ndots else []
    edit = Edit(fix=NAME, options={"index": index, "ndots": ndots})
    return tuple(Change(target=target, edit=edit, why=", ".join(reasons)) for target in targets)


class AttachmentEditor:
    """Edits workloads for `mirror attach`. The engine uses it as it uses the fixes."""

    order = 5
    stores_inverse = True  # it only appends to lists and sets one option
    widest_edit = Edit(fix=NAME, options={"index": True, "ndots": True})

    def may_target(self, target: Target) -> bool:
        """Return whether the target is a workload of a namespace."""
        return isinstance(target, ObjectSpec) and target.kind in KINDS and bool(target.namespace)

    def may_restore(self, target: Target, content: bytes | None) -> bool:  # noqa: ARG002
        """Return whether a workload was there: attach creates none."""
        return content is not None

    def owns(self, target: Target) -> bool:  # noqa: ARG002
        """Return False: workloads belong to others."""
        return False

    def edit(self, edit: Edit, target: Target, content: bytes | None) -> bytes | None:
        """Return the spec with envFrom in every container, and with dnsConfig."""
        assert isinstance(target, ObjectSpec)
        if content is None:
            raise CannotEdit(f"{target} does not exist")
        spec = decode_spec(content)
        pod = get_pod_spec(target.kind, spec)
        if edit.options["index"]:
            # the stored inverse of an attachment without the index has no containers
            for container in (*(pod.get("initContainers") or ()), *(pod.get("containers") or ())):
                _add_index(container)
        if edit.options["ndots"]:
            _set_ndots(pod)
        return encode_spec(spec)

    def reapply_command(self, target: Target, edit: Edit) -> str:
        """Return the command for this workload, with the options it was attached with."""
        assert isinstance(target, ObjectSpec)
        options = " --ndots" if edit.options["ndots"] else ""
        options += "" if edit.options["index"] else " --no-index"
        return f"mirror attach {target.kind.lower()}/{target.name} -n {target.namespace}{options}"


def get_pod_template(kind: str, spec: Any) -> Any:
    """Return the pod template inside of a workload's spec."""
    job = spec["jobTemplate"]["spec"] if kind == "CronJob" else spec
    return job["template"]


def get_pod_spec(kind: str, spec: Any) -> Any:
    """Return the pod spec inside of a workload's spec."""
    return get_pod_template(kind, spec)["spec"]


def _add_index(container: Any) -> None:
    sources = container.setdefault("envFrom", [])
    if not any(
        source.get("configMapRef", {}).get("name") == ENV_MAP and not source.get("prefix")
        for source in sources
    ):
        # at the end: the last of several sources of a variable wins
        sources.append({"configMapRef": {"name": ENV_MAP}})


def _set_ndots(pod: Any) -> None:
    options = pod.setdefault("dnsConfig", {}).setdefault("options", [])
    for option in options:
        if option.get("name") == "ndots":
            option["value"] = "1"
            return
    options.append({"name": "ndots", "value": "1"})
