"""The only door to the Kubernetes API: plain objects in and out, a timeout on every call."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias, cast

import urllib3
from kubernetes.client.api_client import ApiClient
from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException, new_client_from_config
from kubernetes.config.kube_config import list_kube_config_contexts

from deploy.cluster.api_resources import API_RESOURCES, get_api_resource, split_permission_name
from mirror.core.errors import ClusterError
from mirror.core.wait import Deadline

Object: TypeAlias = dict[str, Any]  # a Kubernetes object as JSON

FIELD_MANAGER = "pypi-mirror"
_CALL = 15.0  # seconds, the most one call may take


class ApiError(ClusterError):
    """The API server answered with an error. ``status`` is the HTTP status, ``reason`` its word."""

    def __init__(self, status: int, reason: str, message: str, what: str, next_step: str) -> None:
        super().__init__(what, why=message, next_step=next_step)
        self.status = status
        self.reason = reason


class Cluster:
    """One context of a kubeconfig."""

    def __init__(self, api: ApiClient, context: str, deadline: Deadline) -> None:
        self._api = api
        self.context = context
        self.deadline = deadline
        self.server: str = api.configuration.host

    @classmethod
    def connect(
        cls, *, kubeconfig: Path | None, context: str | None, deadline: Deadline
    ) -> Cluster:
        """Read a kubeconfig; nothing is sent yet. Raises ClusterError that lists the contexts."""
        config_file = str(kubeconfig) if kubeconfig else None
        try:
            contexts, active = list_kube_config_contexts(config_file=config_file)
            chosen = context or (active or {}).get("name")
            if context and context not in [one["name"] for one in contexts]:
                raise ClusterError(
                    f"no context {context!r} in the kubeconfig",
                    why="it has: " + ", ".join(sorted(one["name"] for one in contexts)),
                    next_step="choose one with --context",
                )
            api = new_client_from_config(
                config_file=config_file, context=chosen, persist_config=False
            )
        except (ConfigException, OSError, TypeError, ValueError) as broken:
            raise ClusterError(
                "no cluster to talk to: the kubeconfig cannot be used",
                why=str(broken),
                next_step="give --kubeconfig FILE (MicroK8s: microk8s config > FILE), "
                "or use `mirror up --local` without a cluster",
            ) from broken
        # one failed call must not become four waits: callers retry where it makes sense
        api.configuration.retries = False
        api.rest_client.pool_manager.connection_pool_kw["retries"] = False
        return cls(api, str(chosen), deadline)

    # -- the one call ---------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
        timeout: float = _CALL,
    ) -> str:
        """Send one request and return the body as text.

        Raises ApiRefusal for an answer ≥ 400, ClusterError when there is none.
        """
        headers = {"Accept": "application/json, */*", "Content-Type": content_type}
        words = self._api.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        left = max(min(timeout, self.deadline.remaining()), 0.5)
        try:
            answer = self._api.call_api(*words, _request_timeout=(min(left, 5.0), left))
            text: str = answer.read().decode(errors="replace")
        except (ApiException, urllib3.exceptions.HTTPError, OSError) as broken:
            raise ClusterError(
                f"the API server of context {self.context} does not answer ({self.server})",
                why=_first_line(broken),
                next_step="check the address and `kubectl --context "
                f"{self.context} get --raw /readyz`, or choose another --context",
            ) from broken
        if answer.status >= 400:
            raise self._refusal(answer.status, text, method, path)
        return text

    def open_websocket(
        self, connect: Callable[..., Any], path: str, query: Sequence[tuple[str, str]], **more: Any
    ) -> Any:
        """A connection that becomes a websocket, by one of kubernetes.stream.ws_client's calls.

        Called directly: the generated class above them (CoreV1Api) takes half a second to import.
        Raises ApiException.
        """
        _, url, headers, *_ = self._api.param_serialize(
            "GET",
            path,
            query_params=list(query),
            header_params={"Accept": "*/*"},
            auth_settings=["BearerToken"],
        )
        return connect(self._api.configuration, "GET", url, headers=headers, **more)

    def _refusal(self, status: int, text: str, method: str, path: str) -> ApiError:
        try:
            told = json.loads(text)
        except ValueError:
            told = {}
        told = told if isinstance(told, dict) else {}
        message = str(told.get("message") or text.strip()[:500])
        next_step = {
            401: f"log in again for context {self.context}, or give another --kubeconfig",
            403: f"ask for the right with which `kubectl --context {self.context} auth can-i` "
            "says yes, or use another --context",
        }.get(status, "")
        what = f"the API server refused {method} {path} ({status})"
        return ApiError(status, str(told.get("reason", "")), message, what, next_step)

    # -- objects --------------------------------------------------------------------------------

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """One object, or None where there is none."""
        try:
            return self._object("GET", API_RESOURCES[kind].path(namespace, name))
        except ApiError as refusal:
            if refusal.status == 404:
                return None
            raise

    def list(
        self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> list[Object]:
        """All objects of a kind that match the label and field selectors."""
        query = {"labelSelector": labels, "fieldSelector": fields}
        told = self._object(
            "GET", API_RESOURCES[kind].path(namespace), {k: v for k, v in query.items() if v}
        )
        return cast("list[Object]", told["items"])

    def apply(self, obj: Object, *, dry_run: bool = False) -> Object:
        """Server-side apply under our field manager; ours are all fields that ``obj`` names."""
        meta = obj["metadata"]
        query = {"fieldManager": FIELD_MANAGER, "force": "true"} | _dry(dry_run)
        path = get_api_resource(obj).path(meta.get("namespace"), meta["name"])
        return self._object("PATCH", path, query, obj, "application/apply-patch+yaml")

    def create(self, obj: Object, *, dry_run: bool = False) -> Object:
        """Create; ApiRefusal with status 409 where the name is taken."""
        path = get_api_resource(obj).path(obj["metadata"].get("namespace"))
        return self._object("POST", path, {"fieldManager": FIELD_MANAGER} | _dry(dry_run), obj)

    def replace(self, obj: Object, *, dry_run: bool = False) -> Object:
        """Replace an object as it was read: ApiRefusal 409 where somebody wrote it meanwhile."""
        meta = obj["metadata"]
        path = get_api_resource(obj).path(meta.get("namespace"), meta["name"])
        return self._object("PUT", path, {"fieldManager": FIELD_MANAGER} | _dry(dry_run), obj)

    def patch(self, kind: str, name: str, namespace: str | None, body: Object) -> Object:
        """Merge ``body`` into an object (JSON merge patch): what it does not name stays."""
        path = API_RESOURCES[kind].path(namespace, name)
        query = {"fieldManager": FIELD_MANAGER}
        return self._object("PATCH", path, query, body, "application/merge-patch+json")

    def delete(
        self,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        grace_seconds: int | None = None,
        resource_version: str | None = None,
    ) -> bool:
        """Delete with its dependents; False where there was nothing. ``grace`` in seconds.

        With ``version`` (a resourceVersion) only as it was read, else ApiRefusal 409.
        """
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        options["propagationPolicy"] = "Background"
        if resource_version is not None:
            options["preconditions"] = {"resourceVersion": resource_version}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        try:
            self._object("DELETE", API_RESOURCES[kind].path(namespace, name), None, options)
        except ApiError as refusal:
            if refusal.status == 404:
                return False
            raise
        return True

    def tail_log(self, namespace: str, pod: str, container: str, *, lines: int = 200) -> str:
        """The last lines of a container's log; empty where there is none yet."""
        try:
            return self.read_log(namespace, pod, container, lines=lines)
        except ApiError:
            return ""

    def read_log(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        lines: int | None = None,
        max_bytes: int | None = None,
        previous: bool = False,
    ) -> str:
        """The last ``lines`` of a log, or its first ``most_bytes``; ApiRefusal where there is none.

        ``previous`` is the run before the last restart.
        """
        query = {"container": container, "previous": "true" if previous else ""}
        query["tailLines"] = "" if lines is None else str(lines)
        query["limitBytes"] = "" if max_bytes is None else str(max_bytes)
        path = f"{API_RESOURCES['Pod'].path(namespace, pod)}/log"
        return self.request("GET", path, query={k: v for k, v in query.items() if v})

    def is_allowed(self, verb: str, resource: str, namespace: str | None = None) -> bool:
        """Whether we may do this (SelfSubjectAccessReview); ``pods/log`` names a subresource."""
        whole, _, sub = resource.partition("/")
        plural, group = split_permission_name(whole)
        attributes = {"verb": verb, "group": group, "resource": plural, "subresource": sub}
        if namespace:
            attributes["namespace"] = namespace
        review: Object = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        return bool(self._object("POST", path, None, review)["status"].get("allowed"))

    def version(self) -> str:
        """The API server's version, e.g. v1.34.4."""
        return str(self._object("GET", "/version")["gitVersion"])

    def _object(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        text = self.request(method, path, query=query, body=body, content_type=content_type)
        return cast("Object", json.loads(text))


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


@contextmanager
def temporary_objects(cluster: Cluster, *objects: Object) -> Iterator[list[Object]]:
    """Create objects, and delete them again however the block ends (Ctrl-C included)."""
    made: list[Object] = []
    try:
        for obj in objects:
            made.append(cluster.create(obj))  # noqa: PERF401 - a failure keeps what was made
        yield made
    finally:
        for obj in made:
            meta = obj["metadata"]
            cluster.delete(obj["kind"], meta["name"], meta.get("namespace"), grace_seconds=0)
