"""`mirror attach` and `detach`: workloads that use the index, through the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from deploy.changes.model import ObjectSpec
from deploy.changes.update import TargetUpdate, conflict_error
from deploy.cluster.access import Permission
from deploy.cluster.client import Cluster, Object
from deploy.fixes.attach import FIX, NAME, get_pod_spec, plan_attachments
from deploy.lifecycle import publish
from deploy.manifests.model import ENV_MAP
from deploy.repair import apply
from deploy.repair.plan import TargetDiff, build_diff
from mirror.core.errors import InputError, RefusedError
from mirror.core.progress import SILENT, Progress

_KINDS = ("Deployment", "StatefulSet", "DaemonSet", "CronJob")
_SHORT = {"deploy": "Deployment", "sts": "StatefulSet", "ds": "DaemonSet", "cj": "CronJob"}
_NOT = {
    "Job": "a Job's pods cannot be changed once it exists: delete it and make it again with the "
    "envFrom, or attach the CronJob that makes it",
    "Pod": "a pod cannot be changed once it exists: attach the workload that makes it",
    "ReplicaSet": "its Deployment would make another one: attach the Deployment",
}
_OVERRIDES = ("UV_INDEX_URL", "UV_DEFAULT_INDEX", "PIP_INDEX_URL")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachRequest:
    """Which workloads: KIND/NAME each, or all of a namespace that match a label selector."""

    names: tuple[str, ...]
    namespace: str  # of the workloads
    selector: str = ""
    mirror_namespace: str = "pypi-mirror"
    index: bool = True
    ndots: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachPlan:
    """What would be, or was, written. ``notes`` say what the workload itself sets against it."""

    workloads: tuple[str, ...]
    diffs: tuple[TargetDiff, ...]
    impact: str
    notes: tuple[str, ...] = ()
    updates: tuple[TargetUpdate, ...] = field(default=(), repr=False)

    @property
    def is_noop(self) -> bool:
        return all(step.is_noop for step in self.updates)


def plan_attach(cluster: Cluster, wish: AttachRequest) -> AttachPlan:
    """Look and decide. Raises InputError, RefusedError for what cannot be attached."""
    if not wish.index and not wish.ndots:
        raise InputError(
            "nothing to do: --no-index without --ndots", next_step="leave out --no-index"
        )
    found = _find(cluster, wish)
    targets = [target for target, _ in found]
    works = apply.build_engine(cluster)
    steps, diffs = list[TargetUpdate](), list[TargetDiff]()
    for change in plan_attachments(targets, index=wish.index, ndots=wish.ndots):
        # each workload is attached and detached on its own
        (step,) = works.plan([change])
        steps.append(step)
        diffs.append(build_diff(step, [change]))
    return AttachPlan(
        workloads=tuple(map(str, targets)),
        diffs=tuple(diffs),
        impact=FIX.impact,
        notes=tuple(note for target, obj in found for note in _notes(target, obj, wish)),
        updates=tuple(steps),
    )


def attach(
    cluster: Cluster, wish: AttachRequest, planned: AttachPlan, progress: Progress = SILENT
) -> tuple[str, ...]:
    """Publish the index where it is needed, then write; the workloads that were changed."""
    works = apply.build_engine(cluster)
    _check(planned.updates, force=wish.force)
    progress.step("check the rights to change, to store and to undo")
    more = [
        Permission(verb=v, resource="configmaps", namespace=wish.namespace)
        for v in ("get", "patch")
    ]
    works.check_permissions([step.target for step in planned.updates], more if wish.index else ())
    if wish.index:
        progress.step(f"publish the index in {wish.namespace}")
        publish.publish_environment(cluster, wish.mirror_namespace, [wish.namespace])
    return _do(cluster, planned, progress, force=wish.force)


def plan_detach(cluster: Cluster, wish: AttachRequest) -> AttachPlan:
    """What detaching would write. What is not attached is passed over."""
    works = apply.build_engine(cluster)
    attached = [
        entry.target
        for entry in works.entries()
        if not entry.edits or any(one.edit.fix == NAME for one in entry.edits)
    ]
    if wish.names:
        asked = [_named(name, wish.namespace) for name in wish.names]
        targets = [one for one in asked if one in attached]
    else:
        chosen = [target for target, _ in _find(cluster, wish, lenient=True)]
        targets = [one for one in chosen if one in attached]
    steps = works.plan_rollback([NAME], targets)
    return AttachPlan(
        workloads=tuple(str(step.target) for step in steps),
        diffs=tuple(map(build_diff, steps)),
        impact="their pods are replaced",
        updates=tuple(steps),
    )


def detach(
    cluster: Cluster, planned: AttachPlan, progress: Progress = SILENT, *, force: bool
) -> tuple[str, ...]:
    """Put the specs back as they were; the workloads that were changed."""
    _check(planned.updates, force=force)
    progress.step("check the rights to change and to undo")
    apply.build_engine(cluster).check_permissions([step.target for step in planned.updates])
    return _do(cluster, planned, progress, force=force)


def _check(steps: Sequence[TargetUpdate], *, force: bool) -> None:
    for step in steps:
        if step.conflicts and not force:
            raise conflict_error(step)


def _do(
    cluster: Cluster, planned: AttachPlan, progress: Progress, *, force: bool
) -> tuple[str, ...]:
    steps = [step for step in planned.updates if not step.is_noop]
    if not steps:
        return ()
    works = apply.build_engine(cluster)
    written = []
    with works.hold_lease():
        for step in steps:
            progress.step(f"write {step.target}")
            done = works.apply(step, force=force)
            written += [str(step.target)] if done.changes_target else []
    return tuple(written)


# -- which ----------------------------------------------------------------------------------------


def _find(
    cluster: Cluster, wish: AttachRequest, *, lenient: bool = False
) -> list[tuple[ObjectSpec, Object]]:
    if wish.names:
        targets = [_named(name, wish.namespace) for name in wish.names]
        found = [(target, _existing(cluster, target)) for target in dict.fromkeys(targets)]
    else:
        found = list(_matching(cluster, wish))
        if not found and not lenient:
            raise InputError(
                f"no workload in namespace {wish.namespace}"
                + (f" matches {wish.selector}" if wish.selector else ""),
                why=f"looked for: {', '.join(_KINDS)}",
                next_step=f"kubectl -n {wish.namespace} get deployments,statefulsets,daemonsets,"
                "cronjobs --show-labels",
            )
    if not lenient:
        for target, obj in found:
            _check_owner(target, obj)
    return found


def _named(text: str, namespace: str) -> ObjectSpec:
    kind, slash, name = text.partition("/")
    asked = kind.lower().removesuffix("s") if kind.lower() not in _SHORT else kind.lower()
    known = {one.lower(): one for one in (*_KINDS, *_NOT)} | _SHORT
    if not slash or not name or asked not in known:
        raise InputError(
            f"not a workload: {text!r}",
            why=f"given as KIND/NAME; kinds are {', '.join(_KINDS)}",
            next_step="such as deployment/backend",
        )
    if known[asked] in _NOT:
        raise InputError(f"{text} cannot be attached", why=_NOT[known[asked]])
    return ObjectSpec(kind=known[asked], name=name, namespace=namespace)


def _existing(cluster: Cluster, target: ObjectSpec) -> Object:
    found = cluster.get(target.kind, target.name, target.namespace)
    if found is None:
        raise InputError(
            f"there is no {target}",
            next_step=f"kubectl -n {target.namespace} get {target.kind.lower()}s, or give its "
            "namespace with --namespace",
        )
    return found


def _matching(cluster: Cluster, wish: AttachRequest) -> Iterable[tuple[ObjectSpec, Object]]:
    for kind in _KINDS:
        for one in cluster.list(kind, wish.namespace, labels=wish.selector):
            name = one["metadata"]["name"]
            yield ObjectSpec(kind=kind, name=name, namespace=wish.namespace), one


def _check_owner(target: ObjectSpec, obj: Object) -> None:
    owners = obj["metadata"].get("ownerReferences") or []
    owner = next((one for one in owners if one.get("controller")), None)
    if owner:
        raise RefusedError(
            f"{target} belongs to {owner['kind']} {owner['name']}, which would put it back",
            next_step=f"set the envFrom in {owner['kind']} {owner['name']} "
            f"(configMapRef {ENV_MAP}; mirror env --publish {target.namespace})",
        )


def _notes(target: ObjectSpec, obj: Object, wish: AttachRequest) -> Iterable[str]:
    pod = get_pod_spec(target.kind, obj["spec"])
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        names = [one["name"] for one in container.get("env") or [] if one["name"] in _OVERRIDES]
        if wish.index and names:
            yield (
                f"{target}: container {container['name']} sets {', '.join(names)} itself, which "
                "wins over the ConfigMap: take it out of its env"
            )
    marks = obj["metadata"].get("annotations") or {}
    owner = {"meta.helm.sh/release-name": "Helm", "argocd.argoproj.io/tracking-id": "Argo CD"}
    for mark in owner.keys() & marks.keys():
        yield f"{target}: {owner[mark]} keeps it and may put it back (mirror status: drifted)"
