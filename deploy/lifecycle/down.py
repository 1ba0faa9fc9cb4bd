"""`mirror down`: stop the mirror and keep its packages and address, or purge everything."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.changes import attachment
from deploy.changes.engine import ChangeEngine
from deploy.changes.model import ObjectSpec
from deploy.changes.state import LEDGER_STATE, read_states
from deploy.cluster.client import ApiError, Cluster
from deploy.cluster.objects import format_selector, get_name
from deploy.evidence.agent_image import forget_agent_image
from deploy.evidence.publications import (
    find_owner,
    read_identity,
    read_published_namespaces,
)
from deploy.fix_registry import build_engine, load_fixes
from deploy.lifecycle import connect, publish, record
from deploy.manifests.jobs import WARM_COMPONENT
from deploy.manifests.model import (
    CA_MAP,
    CLAIM_NAME,
    ENV_MAP,
    NAME,
    POD_NAME,
    PROXY_MAP,
    RECORD_MAP,
    build_selector,
    is_ours,
)
from mirror.core.errors import MirrorError, RefusedError
from mirror.core.progress import SILENT, Progress
from mirror.core.wait import wait_until
from mirror.store.inventory import PrivateProject

_STOPPED_OBJECTS = (("StatefulSet", NAME), ("NetworkPolicy", NAME), ("ConfigMap", PROXY_MAP))
_PURGED_OBJECTS = (
    ("ConfigMap", CA_MAP),
    ("Service", NAME),
    ("PersistentVolumeClaim", CLAIM_NAME),
    ("Secret", NAME),
    ("ConfigMap", RECORD_MAP),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DownResult:
    """What was removed, as KIND/NAME; empty if there was nothing."""

    removed: tuple[str, ...]
    withdrawn: tuple[str, ...]  # namespaces that had the environment ConfigMap
    purged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgePlan:
    """What a purge deletes: objects as KIND/NAME, and namespaces that have the environment.

    ``private`` are the projects that no upstream has. ``unlisted`` says why they are not known.
    """

    objects: tuple[str, ...]
    published: tuple[str, ...]
    private: tuple[PrivateProject, ...] = ()
    unlisted: str = ""

    @property
    def is_empty(self) -> bool:
        return not self.objects and not self.published


def plan_purge(cluster: Cluster, namespace: str) -> PurgePlan:
    """Return what `take_down(…, purge=True)` would delete; changes nothing.

    Raises RefusedError if a purge would leave fixes or attachments behind.
    """
    refuse_if_changes_remain(cluster, namespace, SILENT)
    return describe_purge(cluster, namespace)


def describe_purge(cluster: Cluster, namespace: str) -> PurgePlan:
    """Return what a purge would delete, whatever fixes and attachments there are."""
    objects = [
        f"{kind}/{name}"
        for kind, name in (*_STOPPED_OBJECTS, *_PURGED_OBJECTS)
        if cluster.get(kind, name, namespace)
    ]
    owned = cluster.get("Namespace", namespace)
    if owned is not None and is_ours(owned):
        objects.append(f"Namespace/{namespace}")
    mirror_record = record.read(cluster, namespace)
    private: tuple[PrivateProject, ...] = ()
    unlisted = ""
    if f"PersistentVolumeClaim/{CLAIM_NAME}" in objects:
        try:
            endpoint = connect.read_endpoint(cluster, namespace)
            with connect.open_client(cluster, namespace, endpoint) as client:
                private = client.list_private_projects()
        except MirrorError as error:
            unlisted = str(error)
    return PurgePlan(
        objects=tuple(objects),
        published=read_published_namespaces(cluster, namespace, mirror_record),
        private=private,
        unlisted=unlisted,
    )


def take_down(cluster: Cluster, namespace: str, *, purge: bool, progress: Progress) -> DownResult:
    """Remove the mirror. Without ``purge`` its packages, password, Service and record stay.

    Raises RefusedError if a purge would leave fixes or attachments behind.
    """
    if purge:
        refuse_if_changes_remain(cluster, namespace, progress)
    progress.step(f"stop the mirror in {namespace} (context {cluster.context})")
    withdrawn: tuple[str, ...] = ()
    removed = _delete_objects(cluster, namespace, _STOPPED_OBJECTS)
    wait_until(
        lambda: cluster.get("Pod", POD_NAME, namespace) is None,
        deadline=cluster.deadline,
        what="the mirror's pod has ended",
        next_step=f"kubectl -n {namespace} describe pod {POD_NAME}",
    )
    removed += _delete_warm_jobs(cluster, namespace)
    if purge:
        progress.step("remove packages, secrets and published ConfigMaps")
        withdrawn = publish.withdraw_environment(cluster, namespace, progress)
        removed += _delete_objects(cluster, namespace, _PURGED_OBJECTS)
        forget_agent_image(cluster, namespace)
        removed += _delete_namespace(cluster, namespace)
    return DownResult(removed=tuple(removed), withdrawn=withdrawn, purged=purge)


def refuse_if_changes_remain(cluster: Cluster, namespace: str, progress: Progress) -> None:
    """Raise RefusedError if fixes or attachments are in place: a rollback needs the mirror."""
    engine = build_engine(cluster)
    try:
        rejected = engine.rejected()
        states = read_states(engine, load_fixes())
    except ApiError as error:
        if error.status == 403:
            return  # a user who cannot read the ledger made no changes, and a purge keeps it
        raise
    ignored = {
        LEDGER_STATE,
        *([] if _has_attachments(cluster, engine, namespace) else [attachment.NAME]),
    }
    remaining = [
        f"{s.fix} is {s.state}" for s in states if s.state != "absent" and s.fix not in ignored
    ]
    remaining += [str(entry.error) for entry in rejected if entry.newer]
    if remaining:
        raise RefusedError(
            "cannot purge: fixes or attachments are still applied",
            why="; ".join(remaining),
            next_step="undo fixes with `mirror rollback` and attachments with `mirror detach`, "
            "then purge again",
        )
    for entry in rejected:
        progress.note(f"left alone: {entry.error}")


def _has_attachments(cluster: Cluster, engine: ChangeEngine, namespace: str) -> bool:
    """Return whether a workload is attached to this mirror: not all are to another one."""
    mirror, current = read_identity(cluster, namespace), record.read(cluster, namespace)
    attached = [entry.target for entry in engine.entries() if entry.has_edit_of([attachment.NAME])]
    for space in {target.namespace for target in attached if isinstance(target, ObjectSpec)}:
        config_map = cluster.get("ConfigMap", ENV_MAP, space)
        if config_map is None:
            return True
        if find_owner(cluster, config_map, mirror, current).whose != "another mirror's":
            return True
    return False


def _delete_warm_jobs(cluster: Cluster, namespace: str) -> list[str]:
    """Delete the Jobs that fill the cache: their pods would block the end of the namespace."""
    labels = format_selector(build_selector(WARM_COMPONENT))
    try:
        jobs = cluster.list("Job", namespace, labels=labels)
    except ApiError:
        return []  # a user who cannot list Jobs has started none
    names = [get_name(job) for job in jobs if is_ours(job)]
    deleted = [f"Job/{name}" for name in names if cluster.delete("Job", name, namespace)]
    if deleted:
        wait_until(
            lambda: not cluster.list("Pod", namespace, labels=f"job-name in ({','.join(names)})"),
            deadline=cluster.deadline,
            what="the pods of the warm Jobs have ended",
        )
    return deleted


def _delete_objects(
    cluster: Cluster, namespace: str, objects: tuple[tuple[str, str], ...]
) -> list[str]:
    return [f"{kind}/{name}" for kind, name in objects if cluster.delete(kind, name, namespace)]


def _delete_namespace(cluster: Cluster, name: str) -> list[str]:
    """Delete the namespace if it is ours and no pods are left in it."""
    namespace = cluster.get("Namespace", name)
    if namespace is None or not is_ours(namespace) or cluster.list("Pod", name):
        return []
    cluster.delete("Namespace", name)
    wait_until(
        lambda: cluster.get("Namespace", name) is None,
        deadline=cluster.deadline,
        what=f"namespace {name} is gone",
        next_step=f"kubectl get namespace {name} -o yaml",
    )
    return [f"Namespace/{name}"]
