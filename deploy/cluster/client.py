"""The Kubernetes API with plain objects as JSON, and a timeout on every call."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shlex import quote
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit
from urllib.request import proxy_bypass

import urllib3
from kubernetes.client.api_client import ApiClient
from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException, new_client_from_config

from deploy.cluster.api_resources import API_RESOURCES, get_api_resource, split_permission_name
from deploy.cluster.failures import ApiError as ApiError
from deploy.cluster.failures import (
    ClusterTimeout,
    describe_connection_error,
    describe_document,
    describe_response,
    not_kubernetes_error,
)
from deploy.cluster.failures import get_first_line as get_first_line
from deploy.cluster.kubeconfig import check_kubeconfig
from mirror.core.codec import Object as Object
from mirror.core.credentials import hide_credentials
from mirror.core.errors import ClusterError
from mirror.core.wait import Deadline

# what the client raises for a kubeconfig that it cannot use
_CONFIG_ERRORS = (
    *(ConfigException, OSError, TypeError, ValueError),
    *(AttributeError, KeyError, ApiException),
)

FIELD_MANAGER = "pypi-mirror"
_CALL_SECONDS = 15.0  # the longest a call may take


class Cluster:
    """A client of the cluster in one context of a kubeconfig."""

    def __init__(
        self, api: ApiClient, context: str, deadline: Deadline, kubeconfig: Path | None = None
    ) -> None:
        self._api = api
        self.context = context
        self.deadline = deadline
        self.server: str = hide_credentials(api.configuration.host)  # to be shown
        file = f"--kubeconfig {quote(str(kubeconfig))} " if kubeconfig else ""
        self.kubectl = f"kubectl {file}--context {quote(context)}"

    @classmethod
    def connect(
        cls, *, kubeconfig: Path | None, context: str | None, deadline: Deadline
    ) -> Cluster:
        """Read a kubeconfig; nothing is sent yet.

        Raises ClusterError if it cannot be used, or does not have the context.
        """
        chosen = check_kubeconfig(kubeconfig, context)
        try:
            with _collect_log() as messages:
                api = new_client_from_config(
                    config_file=str(kubeconfig) if kubeconfig else None,
                    context=chosen,
                    persist_config=False,
                )
        except ImportError as error:  # urllib3 needs a package for SOCKS
            raise ClusterError(
                f"context {chosen} is reached through a SOCKS proxy, which is not supported",
                why=f"$HTTPS_PROXY or $ALL_PROXY: {error}",
                next_step="name an HTTP proxy, or none: unset HTTPS_PROXY ALL_PROXY",
            ) from error
        except _CONFIG_ERRORS as error:
            raise ClusterError(
                f"context {chosen} of the kubeconfig cannot be used",
                why=get_first_line(error),
                next_step="correct its user and cluster: kubectl config view, "
                "or choose another --context",
            ) from error
        if messages:  # the client only logs that the login program failed
            raise ClusterError(
                f"the login for context {chosen} failed",
                why="\n".join(messages),
                next_step="run the program of `exec` in the kubeconfig, and log in there",
            )
        # urllib3 would repeat a failed call three times; callers retry where it makes sense
        api.configuration.retries = False
        if (
            not api.configuration.verify_ssl
        ):  # the kubeconfig says so; a warning at each call is noise
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        api.rest_client.pool_manager.connection_pool_kw["retries"] = False
        return cls(api, chosen, deadline, kubeconfig)

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
        except ValueError as error:  # its text has the token
            raise ClusterError(
                f"the credentials of context {self.context} cannot be sent",
                why="the token has a line break or another character that no header can have",
                next_step="log in again, or correct the token in the kubeconfig",
            ) from error
        except (ApiException, urllib3.exceptions.HTTPError, OSError) as error:
            if self.deadline.expired:
                raise ClusterTimeout(
                    f"timed out: no response to {method} {path} from context {self.context}",
                    why=f"{self.server} did not answer within --timeout",
                    next_step="give more time, such as --timeout 5m",
                ) from error
            raise describe_connection_error(
                error,
                context=self.context,
                server=self.server,
                kubectl=self.kubectl,
                proxy=self._find_proxy(),
            ) from error
        if response.status >= 400:
            raise self._build_error(response.status, text, method, path)
        return text

    def _find_proxy(self) -> str | None:
        """Return the HTTP proxy through which this cluster is reached, without its password."""
        configuration = self._api.configuration
        host = urlsplit(self.server).hostname or ""
        if not configuration.proxy or proxy_bypass(host):
            return None
        proxy = urlsplit(str(configuration.proxy))
        return urlunsplit(proxy._replace(netloc=proxy.netloc.rpartition("@")[2]))

    def _build_error(self, status: int, text: str, method: str, path: str) -> ClusterError:
        return describe_response(
            status,
            text,
            request=f"{method} {path}",
            context=self.context,
            server=self.server,
            kubectl=self.kubectl,
        )

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
            "GET",
            API_RESOURCES[kind].path(namespace),
            {k: v for k, v in query.items() if v},
            key="items",
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
        since_seconds: int | None = None,
        previous: bool = False,
    ) -> str:
        """The last ``lines`` of a container's log, its first ``max_bytes``, or its last seconds.

        With ``previous``, the log of the container before its last restart. Raises ApiError if
        there is no log.
        """
        query = {"container": container, "previous": "true" if previous else ""}
        query["tailLines"] = "" if lines is None else str(lines)
        query["sinceSeconds"] = "" if since_seconds is None else str(since_seconds)
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
        return str(self._request_object("GET", "/version", key="gitVersion")["gitVersion"])

    def _request_object(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
        *,
        key: str = "",
    ) -> Object:
        """Send a request whose response is an object, which has ``key``."""
        text = self.request(method, path, query=query, body=body, content_type=content_type)
        try:
            response = json.loads(text)
        except ValueError:
            response = None
        if not isinstance(response, dict) or (key and key not in response):
            why = f"it answers {method} {path} with {describe_document(text)}"
            raise not_kubernetes_error(self.context, self.server, why)
        return response


class _LogCollector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextmanager
def _collect_log() -> Iterator[list[str]]:
    """Collect what the client logs as errors, instead of printing it."""
    collector = _LogCollector()
    root = logging.getLogger()
    root.addHandler(collector)
    try:
        yield collector.messages
    finally:
        root.removeHandler(collector)


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
