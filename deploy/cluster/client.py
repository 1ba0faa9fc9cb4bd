"""The Kubernetes API with plain objects as JSON, and a timeout on every call."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import urllib3
from kubernetes.client.api_client import ApiClient
from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException, new_client_from_config
from kubernetes.config.kube_config import list_kube_config_contexts

from deploy.cluster.api_resources import API_RESOURCES, get_api_resource, split_permission_name
from mirror.core.codec import Object as Object
from mirror.core.errors import ClusterError
from mirror.core.wait import Deadline

FIELD_MANAGER = "pypi-mirror"
_CALL_SECONDS = 15.0  # the longest a call may take


class ApiError(ClusterError):
    """An error response of the API server: HTTP status, and Kubernetes' reason, e.g. NotFound."""

    def __init__(self, status: int, reason: str, message: str, what: str, next_step: str) -> None:
        super().__init__(what, why=message, next_step=next_step)
        self.status = status
        self.reason = reason


class Cluster:
    """A client of the cluster in one context of a kubeconfig."""

    def __init__(self, api: ApiClient, context: str, deadline: Deadline) -> None:
        self._api = api
        self.context = context
        self.deadline = deadline
        self.server: str = api.configuration.host

    @classmethod
    def connect(
        cls, *, kubeconfig: Path | None, context: str | None, deadline: Deadline
    ) -> Cluster:
        """Read a kubeconfig; nothing is sent yet.

        Raises ClusterError if it cannot be used, or does not have the context.
        """
        config_file = str(kubeconfig) if kubeconfig else None
        try:
            contexts, active = list_kube_config_contexts(config_file=config_file)
            chosen = context or (active or {}).get("name")
            names = [each["name"] for each in contexts]
            if context and context not in names:
                raise ClusterError(
                    f"no context {context!r} in the kubeconfig",
                    why="it has: " + ", ".join(sorted(names)),
                    next_step="choose one with --context",
                )
            api = new_client_from_config(
                config_file=config_file, context=chosen, persist_config=False
            )
        except (ConfigException, OSError, TypeError, ValueError) as error:
            raise ClusterError(
                "no cluster to talk to: the kubeconfig cannot be used",
                why=str(error),
                next_step="give --kubeconfig FILE (MicroK8s: microk8s config > FILE), "
                "or use `mirror up --local` without a cluster",
            ) from error
        # urllib3 would repeat a failed call three times; callers retry where it makes sense
        api.configuration.retries = False
        api.rest_client.pool_manager.connection_pool_kw["retries"] = False
        return cls(api, str(chosen), deadline)

    # -- requests -------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
        timeout: float = _CALL_SECONDS,
    ) -> str:
        """Send one request and return the response body as text.

        Raises ApiError for an HTTP status of 400 or more, ClusterError if there is no response.
        """
        headers = {"Accept": "application/json, */*", "Content-Type": content_type}
        arguments = self._api.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        remaining = max(min(timeout, self.deadline.remaining()), 0.5)
        try:
            response = self._api.call_api(
                *arguments, _request_timeout=(min(remaining, 5.0), remaining)
            )
            text: str = response.read().decode(errors="replace")
        except (ApiException, urllib3.exceptions.HTTPError, OSError) as error:
            raise ClusterError(
                f"the API server of context {self.context} does not answer ({self.server})",
                why=get_first_line(error),
                next_step="check the address and `kubectl --context "
                f"{self.context} get --raw /readyz`, or choose another --context",
            ) from error
        if response.status >= 400:
            raise self._build_error(response.status, text, method, path)
        return text

    def open_websocket(
        self,
        connect: Callable[..., Any],
        path: str,
        query: Sequence[tuple[str, str]],
        **options: Any,
    ) -> Any:
        """Open a websocket by a function of kubernetes.stream.ws_client. Raises ApiException.

        The generated class above those functions (CoreV1Api) takes half a second to import.
        """
        _, url, headers, *_ = self._api.param_serialize(
            "GET",
            path,
            query_params=list(query),
            header_params={"Accept": "*/*"},
            auth_settings=["BearerToken"],
        )
        return connect(self._api.configuration, "GET", url, headers=headers, **options)

    def _build_error(self, status: int, text: str, method: str, path: str) -> ApiError:
        try:
            response = json.loads(text)
        except ValueError:
            response = {}
        response = response if isinstance(response, dict) else {}
        message = str(response.get("message") or text.strip()[:500])
        next_step = {
            401: f"log in again for context {self.context}, or give another --kubeconfig",
            403: "ask for the permission (check with "
            f"`kubectl --context {self.context} auth can-i`), or use another --context",
        }.get(status, "")
        what = f"the API server refused {method} {path} ({status})"
        return ApiError(status, str(response.get("reason", "")), message, what, next_step)

    # -- objects --------------------------------------------------------------------------------

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """One object; None if it does not exist."""
        try:
            return self._request_object("GET", API_RESOURCES[kind].path(namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(
        self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> list[Object]:
        """All objects of a kind that match the label and field selectors."""
        query = {"labelSelector": labels, "fieldSelector": fields}
        response = self._request_object(
            "GET", API_RESOURCES[kind].path(namespace), {k: v for k, v in query.items() if v}
        )
        return cast("list[Object]", response["items"])

    def apply(self, obj: Object, *, dry_run: bool = False) -> Object:
        """Server-side apply with our field manager, which then owns all fields of ``obj``."""
        query = {"force": "true"} | _write_query(dry_run)
        content_type = "application/apply-patch+yaml"
        return self._request_object("PATCH", _object_path(obj), query, obj, content_type)

    def create(self, obj: Object, *, dry_run: bool = False) -> Object:
        """Create an object. Raises ApiError with status 409 if the name exists."""
        path = get_api_resource(obj).path(obj["metadata"].get("namespace"))
        return self._request_object("POST", path, _write_query(dry_run), obj)

    def replace(self, obj: Object, *, dry_run: bool = False) -> Object:
        """Replace an object. Raises ApiError with status 409 if it changed since it was read."""
        return self._request_object("PUT", _object_path(obj), _write_query(dry_run), obj)

    def patch(self, kind: str, name: str, namespace: str | None, body: Object) -> Object:
        """Merge ``body`` into an object (JSON merge patch); other fields stay as they are."""
        path = API_RESOURCES[kind].path(namespace, name)
        content_type = "application/merge-patch+json"
        return self._request_object("PATCH", path, _write_query(), body, content_type)

    def delete(
        self,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        grace_seconds: int | None = None,
        resource_version: str | None = None,
    ) -> bool:
        """Delete an object and its dependents; False if it did not exist.

        With ``resource_version``, raises ApiError with status 409 if the object has another one.
        """
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        options["propagationPolicy"] = "Background"
        if resource_version is not None:
            options["preconditions"] = {"resourceVersion": resource_version}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        path = API_RESOURCES[kind].path(namespace, name)
        try:
            self._request_object("DELETE", path, None, options)
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    def tail_log(self, namespace: str, pod: str, container: str, *, lines: int = 200) -> str:
        """The last lines of a container's log; empty if the log cannot be read."""
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
        """The last ``lines`` of a container's log, or its first ``max_bytes``.

        With ``previous``, the log of the container before its last restart. Raises ApiError if
        there is no log.
        """
        query = {"container": container, "previous": "true" if previous else ""}
        query["tailLines"] = "" if lines is None else str(lines)
        query["limitBytes"] = "" if max_bytes is None else str(max_bytes)
        path = f"{API_RESOURCES['Pod'].path(namespace, pod)}/log"
        return self.request("GET", path, query={k: v for k, v in query.items() if v})

    def is_allowed(self, verb: str, resource: str, namespace: str | None = None) -> bool:
        """Whether this user has a permission (SelfSubjectAccessReview); see `cluster.access`."""
        name, _, subresource = resource.partition("/")
        plural, group = split_permission_name(name)
        attributes = {"verb": verb, "group": group, "resource": plural, "subresource": subresource}
        if namespace:
            attributes["namespace"] = namespace
        review: Object = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        return bool(self._request_object("POST", path, None, review)["status"].get("allowed"))

    def version(self) -> str:
        """The version of the API server, e.g. v1.34.4."""
        return str(self._request_object("GET", "/version")["gitVersion"])

    def _request_object(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Object:
        text = self.request(method, path, query=query, body=body, content_type=content_type)
        return cast("Object", json.loads(text))


def get_first_line(error: BaseException) -> str:
    """The first line of an error's text, at most 300 characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


@contextmanager
def temporary_objects(cluster: Cluster, *objects: Object) -> Iterator[None]:
    """Create objects, and delete them at the end of the block, after Ctrl-C too."""
    with ExitStack() as stack:
        for obj in objects:
            cluster.create(obj)
            name, namespace = obj["metadata"]["name"], obj["metadata"].get("namespace")
            stack.callback(cluster.delete, obj["kind"], name, namespace, grace_seconds=0)
        yield


def _write_query(dry_run: bool = False) -> dict[str, str]:
    return {"fieldManager": FIELD_MANAGER} | ({"dryRun": "All"} if dry_run else {})


def _object_path(obj: Object) -> str:
    metadata = obj["metadata"]
    return get_api_resource(obj).path(metadata.get("namespace"), metadata["name"])
