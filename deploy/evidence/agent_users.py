"""Count the commands that use the node agents, so that none removes them under another.

Each command has an annotation at the agents' DaemonSet with its identity, and the time until which
it may run. One that was killed is not counted: at once if it ran on this machine, else after that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

from deploy.cluster.client import ApiError, Cluster, Object
from deploy.cluster.process_identity import has_ended, identify_process, shorten
from deploy.manifests.agent import AGENT_NAME, SYSTEM_NAMESPACE
from mirror.core.errors import ClusterError

_PREFIX = "pypi-mirror/user-"
_GRACE = timedelta(seconds=60)  # after a command's deadline, and for clocks that differ
_active: list[str] = []  # the identity of this process, while it uses the agents


@contextmanager
def using_agents(cluster: Cluster) -> Iterator[None]:
    """Count this command as a user of the agents within the block, also of those it starts."""
    _active.append(identify_process())
    try:
        register_user(cluster)
        yield
    finally:
        holder = _active.pop()
        with suppress(ClusterError):  # then it counts until its deadline
            _patch(cluster, holder, None)


def register_user(cluster: Cluster) -> bool:
    """Mark this command at the DaemonSet, if it uses the agents; False if there is none."""
    if not _active:
        return True
    until = datetime.now(UTC) + timedelta(seconds=cluster.deadline.remaining()) + _GRACE
    value = {"by": _active[-1], "until": until.isoformat(timespec="seconds")}
    return _patch(cluster, _active[-1], json.dumps(value))


def list_other_users(daemon_set: Object) -> tuple[str, ...]:
    """Return the other commands that use the agents now."""
    annotations = daemon_set["metadata"].get("annotations") or {}
    users = []
    for key, text in annotations.items():
        if not key.startswith(_PREFIX) or key in map(_key, _active):
            continue
        try:
            value = json.loads(text)
            holder, until = str(value["by"]), datetime.fromisoformat(value["until"])
            latest = datetime.now(UTC) + timedelta(hours=1)
            if datetime.now(UTC) < until < latest and not has_ended(holder):
                users.append(shorten(holder))
        except (KeyError, TypeError, ValueError):
            continue  # not ours: it keeps nobody from removing the agents
    return tuple(users)


def _patch(cluster: Cluster, holder: str, value: str | None) -> bool:
    try:
        if cluster.get("DaemonSet", AGENT_NAME, SYSTEM_NAMESPACE) is None:
            return False
        body = {"metadata": {"annotations": {_key(holder): value}}}
        cluster.patch("DaemonSet", AGENT_NAME, SYSTEM_NAMESPACE, body)
    except ApiError as error:
        if error.status == 404:
            return False
        if error.status != 403:
            raise  # who may not write DaemonSets cannot remove the agents either
    return True


def _key(holder: str) -> str:
    return _PREFIX + hashlib.sha256(holder.encode()).hexdigest()[:12]
