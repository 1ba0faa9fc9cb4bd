"""`mirror attach` and `detach`: workloads that use the index, changed through the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from deploy.changes.attachment import IMPACT, KINDS, NAME, plan_attachments
from deploy.changes.engine import ChangeEngine
from deploy.changes.model import ObjectSpec, Target
from deploy.changes.update import TargetFailure, TargetUpdate, require_no_conflicts
from deploy.cluster.access import list_permissions
from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.managers import find_manager, is_reconciling
from deploy.cluster.objects import get_controller, get_name
from deploy.evidence.isolation import EgressRules, read_egress_rules
from deploy.fix_registry import build_engine
from deploy.lifecycle import publish
from deploy.manifests.model import ENV_MAP
from deploy.repair.attach_notes import describe_workload
from deploy.repair.attach_patch import AttachPatch, build_patch
from deploy.repair.model import TargetDiff, raise_failures
from deploy.repair.plan import build_diff
from deploy.repair.write import check_permissions, write_update
from mirror.core.errors import InputError, RefusedError
from mirror.core.progress import SILENT, Progress

_SHORT_NAMES = {"deploy": "Deployment", "sts": "StatefulSet", "ds": "DaemonSet", "cj": "CronJob"}
_UNSUPPORTED = {
    "Job": "the pods of a Job cannot be changed: delete it and create it again with the envFrom, "
    "or attach the CronJob that creates it",
    "Pod": "a pod cannot be changed: attach the workload that creates it",
    "ReplicaSet": "its Deployment would replace it: attach the Deployment",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachRequest:
    """The workloads: each as KIND/NAME, or all in a namespace that match a label selector."""

    names: tuple[str, ...]
    namespace: str  # of the workloads
    selector: str = ""
    mirror_namespace: str = "pypi-mirror"
    index: bool = True
    ndots: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachPlan:
    """What would be written. ``notes`` say which workloads override it themselves.

    ``patches`` are for workloads that a tool keeps: they are not written, unless by force.
    """

    workloads: tuple[str, ...]
    diffs: tuple[TargetDiff, ...]
    impact: str
    notes: tuple[str, ...] = ()
    patches: tuple[AttachPatch, ...] = ()
    updates: tuple[TargetUpdate, ...] = field(default=(), repr=False)
    failures: tuple[TargetFailure, ...] = field(default=(), repr=False)

    @property
    def is_noop(self) -> bool:
        return all(update.is_noop for update in self.updates)


def check_request(request: AttachRequest) -> None:
    """Raise InputError for a request that no cluster can fulfil."""
    for name in request.names:
        parse_workload(name, request.namespace)
    if not request.index and not request.ndots:
        raise InputError(
            "nothing to do: --no-index without --ndots",
            why="--no-index leaves only what --ndots sets",
            next_step="leave out --no-index, or add --ndots",
        )


def plan_attach(cluster: Cluster, request: AttachRequest) -> AttachPlan:
    """Plan the change to each workload. Raises InputError, or RefusedError for one with an owner.

    Each workload is attached, and later detached, on its own.
    """
    check_request(request)
    workloads = _find_workloads(cluster, request)
    for target, obj in workloads.items():
        _check_owner(target, obj)
    engine = build_engine(cluster)
    kept = {} if request.force else _find_kept(workloads)
    written = tuple(target for target in workloads if target not in kept)
    changes = plan_attachments(written, index=request.index, ndots=request.ndots)
    updates = [update for change in changes for update in engine.plan([change])]
    return AttachPlan(
        workloads=tuple(map(str, workloads)),
        diffs=tuple(build_diff(update, changes) for update in updates),
        impact=IMPACT,
        notes=_describe_workloads(cluster, request, workloads),
        patches=tuple(
            patch
            for target, manager in kept.items()
            if (
                patch := build_patch(
                    target,
                    workloads[target],
                    manager,
                    index=request.index,
                    ndots=request.ndots,
                )
            )
        ),
        updates=tuple(updates),
    )


def _find_kept(workloads: Mapping[ObjectSpec, Object]) -> dict[ObjectSpec, str]:
    """Return the workloads that a tool would put back by itself, and the tool."""
    managers = {target: find_manager(obj) for target, obj in workloads.items()}
    return {target: manager for target, manager in managers.items() if is_reconciling(manager)}


def _describe_workloads(
    cluster: Cluster, request: AttachRequest, workloads: Mapping[ObjectSpec, Object]
) -> tuple[str, ...]:
    notes: list[str] = []
    try:
        rules = read_egress_rules(cluster, request.mirror_namespace, request.namespace)
    except ApiError as error:
        notes.append(f"the NetworkPolicies of {request.namespace} were not read: {error.why}")
        rules = EgressRules(policies={}, mirror=None)
    for target, obj in workloads.items():
        notes += describe_workload(
            target,
            obj,
            index=request.index,
            mirror_namespace=request.mirror_namespace,
            rules=rules,
        )
    return tuple(notes)


def attach(
    cluster: Cluster, request: AttachRequest, plan: AttachPlan, progress: Progress = SILENT
) -> tuple[str, ...]:
    """Publish the index if it is needed, then write. Returns the workloads that were changed."""
    engine = build_engine(cluster)
    if not request.force:
        require_no_conflicts(*plan.updates)
    publishing = list_permissions("get patch", "configmaps", request.namespace)
    check_permissions(engine, plan.updates, progress, publishing if request.index else ())
    if request.index:
        progress.step(f"publish the index in {request.namespace}")
        publish.publish_environment(cluster, request.mirror_namespace, [request.namespace])
    return _write(engine, plan, progress, force=request.force)


def plan_detach(cluster: Cluster, request: AttachRequest) -> AttachPlan:
    """Plan to detach these workloads. Those that are not attached are skipped."""
    engine = build_engine(cluster)
    attached = _list_attached(engine)
    if request.names:
        requested = [parse_workload(name, request.namespace) for name in request.names]
    else:
        requested = list(_match_workloads(cluster, request))
    return _plan_detach(engine, [target for target in requested if target in attached])


def list_attached(cluster: Cluster) -> tuple[ObjectSpec, ...]:
    """Return every attached workload of the cluster."""
    attached = _list_attached(build_engine(cluster))
    return tuple(target for target in attached if isinstance(target, ObjectSpec))


def plan_detach_all(cluster: Cluster) -> AttachPlan:
    """Plan to detach every attached workload of the cluster."""
    engine = build_engine(cluster)
    return _plan_detach(engine, _list_attached(engine))


def _list_attached(engine: ChangeEngine) -> list[Target]:
    return [
        entry.target for entry in engine.entries() if not entry.edits or entry.has_edit_of([NAME])
    ]


def _plan_detach(engine: ChangeEngine, targets: Sequence[Target]) -> AttachPlan:
    failures: list[TargetFailure] = []
    updates = engine.plan_rollback([NAME], targets, failures)
    return AttachPlan(
        workloads=tuple(str(update.target) for update in updates),
        diffs=tuple(map(build_diff, updates)),
        impact="their pods are replaced",
        notes=tuple(f"not looked at: {failure}" for failure in failures),
        updates=tuple(updates),
        failures=tuple(f for f in failures if not isinstance(f.target, str)),
    )


def detach(
    cluster: Cluster, plan: AttachPlan, progress: Progress = SILENT, *, force: bool
) -> tuple[str, ...]:
    """Restore the specs as they were. Returns the workloads that were changed."""
    engine = build_engine(cluster)
    if not force:
        require_no_conflicts(*plan.updates)
    check_permissions(engine, plan.updates, progress)
    written = _write(engine, plan, progress, force=force)
    raise_failures("the workloads are detached", plan.failures, "mirror detach")
    return written


def _write(
    engine: ChangeEngine, plan: AttachPlan, progress: Progress, *, force: bool
) -> tuple[str, ...]:
    if plan.is_noop:
        return ()
    written: list[str] = []
    with engine.hold_lease():
        for update in plan.updates:
            if not update.is_noop:
                written += write_update(engine, update, progress, force=force)
    return tuple(written)


# -- the workloads --------------------------------------------------------------------------------


def _find_workloads(cluster: Cluster, request: AttachRequest) -> Mapping[ObjectSpec, Object]:
    """Return the requested workloads. Raises InputError if there are none."""
    if request.names:
        targets = [parse_workload(name, request.namespace) for name in request.names]
        return {target: _get_workload(cluster, target) for target in targets}
    workloads = _match_workloads(cluster, request)
    if not workloads:
        raise InputError(
            f"no workload in namespace {request.namespace}"
            + (f" matches {request.selector}" if request.selector else ""),
            why=f"looked for: {', '.join(KINDS)}",
            next_step=f"kubectl -n {request.namespace} get deployments,statefulsets,daemonsets,"
            "cronjobs --show-labels",
        )
    return workloads


def _match_workloads(cluster: Cluster, request: AttachRequest) -> Mapping[ObjectSpec, Object]:
    namespace = request.namespace
    return {
        ObjectSpec(kind=kind, name=get_name(obj), namespace=namespace): obj
        for kind in KINDS
        for obj in cluster.list(kind, namespace, labels=request.selector)
    }


def parse_workload(text: str, namespace: str) -> ObjectSpec:
    """Return the target of KIND/NAME, with the kind as kubectl accepts or prints it.

    `kubectl get -o name` prints a kind with its group: deployment.apps/web.
    """
    kind, slash, name = text.strip().partition("/")
    word, _, group = kind.lower().partition(".")
    if group.rpartition(".")[2] not in {"", "apps", "batch"}:
        word = kind.lower()  # a resource of somebody else
    key = word if word in _SHORT_NAMES else word.removesuffix("s")
    kinds = {each.lower(): each for each in (*KINDS, *_UNSUPPORTED)} | _SHORT_NAMES
    if not slash or not name or "/" in name or key not in kinds:
        raise InputError(
            f"not a workload: {text!r}",
            why=f"expected KIND/NAME with a kind of {', '.join(KINDS)}",
            next_step="give one such as deployment/backend",
        )
    if kinds[key] in _UNSUPPORTED:
        raise InputError(
            f"{text} cannot be attached",
            why=_UNSUPPORTED[kinds[key]],
            next_step="name the workload that creates it, or give its pods the variables of "
            "`mirror env`",
        )
    return ObjectSpec(kind=kinds[key], name=name, namespace=namespace)


def _get_workload(cluster: Cluster, target: ObjectSpec) -> Object:
    obj = cluster.get(target.kind, target.name, target.namespace)
    if obj is None:
        raise InputError(
            f"there is no {target}",
            next_step=f"kubectl -n {target.namespace} get {target.kind.lower()}s, or give its "
            "namespace with --namespace",
        )
    return obj


def _check_owner(target: ObjectSpec, obj: Object) -> None:
    """Raise RefusedError if a controller owns the workload and would revert the change."""
    if owner := get_controller(obj):
        raise RefusedError(
            f"{target} belongs to {owner['kind']} {owner['name']}, which would change it back",
            next_step=f"set the envFrom in {owner['kind']} {owner['name']} "
            f"(configMapRef {ENV_MAP}; mirror env --publish {target.namespace})",
        )
