"""Checks of values that users type, before a cluster or an engine is asked."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from ipaddress import AddressValueError, IPv4Address, ip_network
from pathlib import Path
from shlex import quote
from typing import Any
from urllib.parse import urlsplit

import click
from click.shell_completion import CompletionItem

from mirror.core.errors import InputError
from mirror.probe.endpoint import parse_endpoint

_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(h|m|s)")
_SECONDS = {"h": 3600, "m": 60, "s": 1}
_QUANTITY = re.compile(r"(?=.*[1-9])\d+(?:\.\d+)?(?:[KMGTPE]i|[kMGTPE]|e\d{1,2})?\Z")
_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z"
)
_PATH_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::\d{1,5})?"
_REGISTRY = re.compile(rf"{_HOST}(?:/{_PATH_PART})*/?\Z")
_IMAGE = re.compile(
    rf"(?=.{{1,255}}\Z)(?:{_HOST}/)?{_PATH_PART}(?:/{_PATH_PART})*"
    r"(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?\Z"
)


class Checked(click.ParamType[Any]):
    """A value that ``check`` returns, or refuses with an InputError."""

    def __init__(
        self,
        name: str,
        check: Callable[[str], Any],
        candidates: Callable[[click.Context], Iterable[str]] = lambda _: (),
    ) -> None:
        self.name = name
        self._check = check
        self._candidates = candidates

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self._check(value) if isinstance(value, str) else value

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        names = self._candidates(ctx)
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def parse_duration(text: str) -> float:
    """Return seconds for a duration as kubectl takes it: 90, 90s, 5m, 1h30m. At least 1 second."""
    compact = text.strip()
    parts = _DURATION_PART.findall(compact)
    seconds = 0.0
    if re.fullmatch(r"\d+(\.\d+)?", compact):
        seconds = float(compact)
    elif parts and "".join(f"{number}{unit}" for number, unit in parts) == compact:
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if not 1 <= seconds <= 10**7:
        raise InputError(
            f"not a duration: {text[:40]!r}",
            why="a duration is a number of seconds, or has the units h, m and s; at least 1s",
            next_step="give one such as 90, 90s, 5m or 1h30m",
        )
    return seconds


def check_quantity(text: str) -> str:
    """Return a Kubernetes quantity of storage that is greater than zero."""
    if not _QUANTITY.match(text):
        raise InputError(
            f"not a size: {text[:40]!r}",
            why="a size is a number with a unit of Kubernetes: Mi, Gi, Ti, or M, G, T",
            next_step="give one such as --size 20Gi",
        )
    return text


def check_resource_name(text: str) -> str:
    """Return a name of a node or another Kubernetes object (RFC 1123 subdomain)."""
    if not _NAME.match(text):
        raise InputError(
            f"not a Kubernetes name: {text[:80]!r}",
            why="a name has lower-case letters, digits, '-' and '.', and starts and ends with a "
            "letter or digit",
            next_step="list the names: kubectl get nodes,storageclasses",
        )
    return text


def check_image(text: str) -> str:
    """Return the reference of an image: [HOST[:PORT]/]PATH[:TAG][@sha256:DIGEST]."""
    if not _IMAGE.match(text):
        raise InputError(
            f"not an image reference: {text[:80]!r}",
            why="a reference is [HOST[:PORT]/]NAME[:TAG][@sha256:DIGEST]; NAME is in lower case",
            next_step="give one such as registry.example/pypi-mirror:1",
        )
    return text


def check_registry(text: str) -> str:
    """Return a registry, and a path in it: HOST[:PORT][/PATH]."""
    if not _REGISTRY.match(text):
        raise InputError(
            f"not a registry: {text[:80]!r}",
            why="a registry is HOST[:PORT][/PATH], without a scheme; PATH is in lower case",
            next_step="give one such as --registry registry.example:5000/mirror",
        )
    return text


def check_cluster_ip(text: str) -> str:
    """Return an IPv4 address for the Service."""
    try:
        return str(IPv4Address(text))
    except AddressValueError as error:
        raise InputError(
            f"not an IPv4 address: {text[:80]!r}",
            why=str(error),
            next_step="give an address of the cluster's Service range, such as 10.96.0.50",
        ) from error


def check_node_port(text: str) -> int:
    """Return a port in the range that Kubernetes reserves for node ports."""
    if not text.isascii() or not text.isdigit() or not 30000 <= int(text) <= 32767:
        raise InputError(
            f"not a node port: {text[:40]!r}",
            why="Kubernetes serves node ports from 30000 to 32767",
            next_step="give one such as --node-port 30141",
        )
    return int(text)


def check_cidr(text: str) -> str:
    """Return an address range."""
    try:
        ip_network(text)
    except ValueError as error:
        raise InputError(
            f"not an address range: {text[:80]!r}",
            why=str(error),
            next_step="give one such as 10.0.0.0/16",
        ) from error
    return text


def check_url(text: str) -> str:
    """Return an http:// or https:// URL with a host."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InputError(
            f"not a URL: {text[:80]!r}",
            why="a URL begins with http:// or https:// and has a host",
            next_step="give one such as https://debian.example",
        )
    if parts.username or parts.password:
        raise InputError(
            "this URL must not contain a password",
            why="it would appear in the image's history and in logs",
            next_step="remove the user and password from the URL",
        )
    return text


def check_endpoint(text: str) -> str:
    """Return HOST[:PORT], as probe pods resolve it."""
    _, colon, port = text.partition(":")
    why = ""
    if colon and not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        why = f"not a port: {port[:20]!r}"
    else:
        try:
            parse_endpoint(text)
        except ValueError as error:
            why = str(error)
    if why:
        raise InputError(
            f"--name {text[:80]!r} is not HOST[:PORT]",
            why=why,
            next_step="give a host name such as --name index.example",
        )
    return text


def check_output_path(text: str) -> Path:
    """Return the path of a file that can be written, before anything is done for it."""
    path = Path(text)
    reason = ""
    if path.is_dir():
        reason = "it is a folder"
    elif not path.parent.is_dir():
        reason = f"there is no folder {path.parent}"
    elif not os.access(path if path.exists() else path.parent, os.W_OK):
        reason = "Permission denied"
    if reason:
        raise InputError(
            f"cannot write {path}", why=reason, next_step="name a file in a folder that you own"
        )
    return path


def check_output_folder(text: str) -> Path:
    """Return the path of a folder that exists, or that can be made in one that exists."""
    path = Path(text)
    reason = ""
    if path.exists() and not path.is_dir():
        reason = "it is a file"
    elif not path.exists() and not path.parent.is_dir():
        reason = f"there is no folder {path.parent}"
    elif not os.access(path if path.exists() else path.parent, os.W_OK):
        reason = "Permission denied"
    if reason:
        raise InputError(
            f"cannot write into {path}", why=reason, next_step="name a folder that you own"
        )
    return path


def check_readable_file(text: str) -> Path:
    """Return the path of a file that can be read."""
    path = Path(text)
    reason = ""
    if not path.exists():
        reason = "no such file"
    elif path.is_dir():
        reason = "it is a folder"
    elif not os.access(path, os.R_OK):
        reason = "Permission denied"
    if reason:
        raise InputError(
            f"cannot read {path}",
            why=reason,
            next_step=f"see what is there: ls -l {quote(str(path.parent))}",
        )
    return path


def check_extension(package: str, what: str, next_step: str, *more: str) -> Callable[[str], str]:
    """Return a check for names of the modules of an extension package, and ``more`` names."""

    def check(text: str) -> str:
        from deploy.extensions import list_extension_names

        names = [name.replace("_", "-") for name in list_extension_names(package)]
        return check_known(text, what, [*names, *more], next_step)

    return check


def check_check(text: str) -> str:
    """Return the id of a check of `mirror doctor`. Raises InputError with the nearest."""
    from deploy.doctor.explain import list_checks

    return check_known(text, "check", list_checks(), "mirror doctor --explain {name}")


def check_known(text: str, what: str, known: Iterable[str], next_step: str) -> str:
    """Return a name that is among the known ones, else raise InputError with the nearest."""
    names = sorted(known)
    if text in names:
        return text
    near = get_close_matches(text, names, n=1)
    raise InputError(
        f"no {what} {text[:80]!r}",
        why=(f"did you mean {near[0]}? " if near else "") + f"there are: {', '.join(names)}",
        next_step=next_step.format(name=near[0] if near else names[0]),
    )
