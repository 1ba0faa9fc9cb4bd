"""Turn a failed connection to an API server, or its error response, into an error with a cause."""

from __future__ import annotations

import errno
import json
import re
import socket
import ssl
from collections.abc import Iterator
from typing import TypeVar
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import ProxyError

from mirror.core.errors import ClusterError

E = TypeVar("E", bound=BaseException)

_EXPIRED, _NOT_YET_VALID = {10}, {9}
_WRONG_NAME = {62, 64}
_NOT_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE")


class ApiError(ClusterError):
    """An error response of the API server: HTTP status, and Kubernetes' reason, e.g. NotFound."""

    def __init__(self, status: int, reason: str, message: str, what: str, next_step: str) -> None:
        super().__init__(what, why=message, next_step=next_step)
        self.status = status
        self.reason = reason


class ClusterTimeout(ClusterError):
    """The API server did not answer before the deadline of the command."""

    exit_code = 4


def describe_connection_error(
    error: BaseException, *, context: str, server: str, kubectl: str, proxy: str | None
) -> ClusterError:
    """Return the error for a request that got no response, with its innermost cause.

    ``kubectl`` is the command that reaches the same cluster; ``proxy`` the HTTP proxy in use.
    """
    url = urlsplit(server)
    away = f"the API server of context {context} does not answer ({server})"
    distrusted = f"the API server of context {context} cannot be trusted ({server})"
    check = f"check the address with `{kubectl} get --raw /readyz`, or choose another --context"
    if failure := _find(error, ssl.SSLCertVerificationError):
        reason = failure.verify_message or get_first_line(failure)
        code = failure.verify_code
        if code in _EXPIRED | _NOT_YET_VALID:
            next_step = (
                "compare the clocks (date), or renew the certificate: MicroK8s: "
                "sudo microk8s refresh-certs --cert server.crt; kubeadm: "
                "sudo kubeadm certs renew apiserver"
            )
        elif code in _WRONG_NAME:
            next_step = (
                f"use a name of the certificate in `server:`, or its `tls-server-name`: "
                f"openssl s_client -connect {url.hostname}:{url.port or 443} </dev/null "
                "| openssl x509 -noout -ext subjectAltName"
            )
        else:
            next_step = (
                "fetch the kubeconfig again: its certificate-authority-data is not that of this "
                "cluster (MicroK8s: microk8s config)"
            )
        return ClusterError(distrusted, why=f"TLS: {reason}", next_step=next_step)
    if tls_failure := _find(error, ssl.SSLError):
        reason = tls_failure.reason or get_first_line(tls_failure)
        if any(word in reason for word in _NOT_TLS):
            why = f"{url.hostname}:{url.port or 443} does not speak TLS"
            return ClusterError(
                away, why=why, next_step="check `server:` in the kubeconfig: its scheme and port"
            )
        return ClusterError(away, why=f"TLS: {reason}", next_step=check)
    if proxy or _find(error, ProxyError):
        return ClusterError(
            away,
            why=f"the proxy {proxy or 'of the environment'} was asked: "
            f"{_describe_root(error, proxy or server)}",
            next_step=f"reach the server without it: export NO_PROXY=$NO_PROXY,{url.hostname}",
        )
    return ClusterError(away, why=_describe_root(error, server), next_step=check)


def describe_response(
    status: int, text: str, *, request: str, context: str, server: str, kubectl: str
) -> ClusterError:
    """Return the error for a response of status 400 or more. ``request`` is its method and path."""
    try:
        response = json.loads(text)
    except ValueError:
        response = None
    if not isinstance(response, dict):
        if "HTTP request to an HTTPS server" in text:
            return ClusterError(
                f"the API server of context {context} expects TLS ({server})",
                why=text.strip()[:200],
                next_step="write https:// in `server:` of the kubeconfig",
            )
        if is_html(text):
            return not_kubernetes_error(context, server, f"{request}: {status}, {_title(text)}")
        response = {}
    message = str(response.get("message") or text.strip()[:500])
    next_steps = {
        401: f"log in again for context {context}, or give another --kubeconfig",
        403: f"ask for the permission (check with `{kubectl} auth can-i --list`), or use another "
        "--context",
        404: f"see what the cluster has: {kubectl} api-resources",
        409: "somebody else writes it too: run the command again",
    }
    if "exceeded quota" in message:
        next_steps[403] = "raise the ResourceQuota that it names, or delete what fills it"
    default = "correct what it names, and run the command again"
    if status >= 500 or status == 429:
        default = (
            f"wait, and run the command again; its state: {kubectl} get --raw '/readyz?verbose'"
        )
    what = f"the API server refused {request} ({status})"
    if status >= 500:
        what = f"the API server failed at {request} ({status})"
    reason = str(response.get("reason", ""))
    return ApiError(status, reason, message, what, next_steps.get(status, default))


def not_kubernetes_error(context: str, server: str, why: str) -> ClusterError:
    return ClusterError(
        f"the server of context {context} is not a Kubernetes API server ({server})",
        why=why,
        next_step="check `server:` in the kubeconfig, and whether a proxy or a login page stands "
        "before it",
    )


def is_html(text: str) -> bool:
    return text.lstrip()[:1] == "<"


def describe_document(text: str) -> str:
    """Return, in a few words, what a response is that should be JSON."""
    return _title(text) if is_html(text) else repr(text.strip()[:60])


def get_first_line(error: BaseException) -> str:
    """The first line of an error's text, at most 300 characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _title(page: str) -> str:
    title = re.search(r"<title[^>]*>(.*?)</title>", page, re.IGNORECASE | re.DOTALL)
    return f"a web page{f' ({title[1].strip()[:80]})' if title else ''}"


def _walk(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that caused it; urllib3 keeps causes in `reason` and in arguments."""
    seen: list[BaseException] = []
    queue: list[object] = [error]
    while queue:
        cause = queue.pop(0)
        if not isinstance(cause, BaseException) or cause in seen:
            continue
        seen.append(cause)
        yield cause
        queue += [getattr(cause, "reason", None), *cause.args, cause.__cause__, cause.__context__]


def _find(error: BaseException, kind: type[E]) -> E | None:
    return next((cause for cause in _walk(error) if isinstance(cause, kind)), None)


def _describe_root(error: BaseException, server: str) -> str:
    host = urlsplit(server).hostname or server
    if _find(error, socket.gaierror):
        return f"the name {host} does not resolve"
    if _find(error, ConnectionRefusedError):
        return "connection refused: nothing listens there"
    if _find(error, urllib3.exceptions.TimeoutError) or _find(error, TimeoutError):
        return "no response in time"
    if _find(error, ConnectionError) or _find(error, urllib3.exceptions.ProtocolError):
        return "the connection was closed without a response"
    for cause in _walk(error):
        if isinstance(cause, OSError) and cause.errno in {errno.ENETUNREACH, errno.EHOSTUNREACH}:
            return f"no route to {host}"
    return get_first_line(error)
