"""Read a kubeconfig, and say what is wrong with it before a request is sent."""

from __future__ import annotations

import os
import shutil
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from mirror.core.codec import Object
from mirror.core.credentials import hide_credentials
from mirror.core.errors import ClusterError

_NEXT = "give --kubeconfig FILE (MicroK8s: microk8s config > FILE)"


class KubeconfigError(ClusterError):
    """There is no usable kubeconfig, or it does not have the context."""


def read_contexts(path: Path | None) -> list[str]:
    """Return the names of the contexts. Raises KubeconfigError for an unusable kubeconfig."""
    return [context["name"] for _, context in _list_items(_read_files(path), "contexts")]


def check_kubeconfig(path: Path | None, context: str | None) -> str:
    """Return the name of the chosen context, if its cluster and its user can be used.

    ``path`` None means $KUBECONFIG, or ~/.kube/config. Raises KubeconfigError otherwise.
    """
    files = _read_files(path)
    title = ", ".join(map(str, files))
    contexts = {item["name"]: item for _, item in reversed(list(_list_items(files, "contexts")))}
    chosen = context or next((c for f in files.values() if (c := f.get("current-context"))), None)
    if chosen is None:
        raise KubeconfigError(
            f"no current context in {title}",
            why=f"it has: {', '.join(sorted(contexts))}" if contexts else "it has no contexts",
            next_step="choose one with --context" if contexts else _NEXT,
        )
    if chosen not in contexts:
        raise KubeconfigError(
            f"no context {chosen!r} in {title}",
            why=f"it has: {', '.join(sorted(contexts))}" if contexts else "it has no contexts",
            next_step="choose one with --context" if contexts else _NEXT,
        )
    details = contexts[chosen].get("context")
    details = details if isinstance(details, dict) else {}
    folder, cluster = _find(files, "clusters", details.get("cluster"))
    if not cluster or not isinstance(cluster.get("server"), str):
        raise KubeconfigError(
            f"context {chosen!r} of {title} has no cluster to talk to",
            why=f"there is no cluster {details.get('cluster')!r} with a `server`",
            next_step=_NEXT,
        )
    _check_urls(cluster, chosen, title)
    user_folder, user = _find(files, "users", details.get("user"))
    if user is None and details.get("user"):
        raise KubeconfigError(
            f"context {chosen!r} of {title} has no user to log in as",
            why=f"there is no user {details['user']!r} in it",
            next_step=_NEXT,
        )
    _check_pem(cluster, ("certificate-authority",), folder, title)
    _check_pem(user or {}, ("client-certificate", "client-key"), user_folder, title)
    _check_file(user or {}, "tokenFile", user_folder, title)
    _check_login_program(user or {}, user_folder, chosen)
    return str(chosen)


def _read_files(path: Path | None) -> dict[Path, Object]:
    """Return the content of each existing file. Raises KubeconfigError if none can be used."""
    text = str(path) if path else os.environ.get("KUBECONFIG") or "~/.kube/config"
    paths = [Path(part).expanduser() for part in text.split(os.pathsep) if part]
    found = {part: _read_file(part) for part in paths if part.exists()}
    if not found:
        raise KubeconfigError(
            f"no cluster to talk to: there is no kubeconfig {' or '.join(map(str, paths))}",
            why="--kubeconfig names it" if path else "$KUBECONFIG and --kubeconfig choose another",
            next_step=_NEXT,
        )
    return found


def _read_file(path: Path) -> Object:
    def refuse(why: str) -> KubeconfigError:
        return KubeconfigError(
            f"no cluster to talk to: kubeconfig {path} cannot be used", why=why, next_step=_NEXT
        )

    try:
        content = YAML(typ="safe").load(path.read_text())
    except OSError as error:
        raise refuse(error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise refuse("it is not a text file in UTF-8") from error
    except MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise refuse(f"it is not valid YAML: {line}{error.problem}") from error
    except (YAMLError, ValueError) as error:
        raise refuse(f"it is not valid YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise refuse("it is empty" if content is None else "it is text, not a kubeconfig")
    if not isinstance(content.get("current-context", ""), str | None):
        raise refuse("`current-context` is not a name")
    for key in ("clusters", "contexts", "users"):
        items = content.get(key) or []
        if not isinstance(items, list) or not all(
            isinstance(item, dict) and isinstance(item.get("name"), str) for item in items
        ):
            raise refuse(f"`{key}` is not a list of entries with a name")
    return content


def _list_items(files: Mapping[Path, Object], key: str) -> Iterator[tuple[Path, Object]]:
    for path, content in files.items():
        yield from ((path.parent, item) for item in content.get(key) or ())


def _find(files: Mapping[Path, Object], key: str, name: Any) -> tuple[Path, Object | None]:
    """Return the folder that paths of a cluster or user are relative to, and its settings."""
    for folder, item in _list_items(files, key):
        if item["name"] == name:
            settings = item.get(key.removesuffix("s"))
            return folder, settings if isinstance(settings, dict) else {}
    return Path(), None


def _check_urls(cluster: Object, context: str, title: str) -> None:
    """Raise KubeconfigError for a server or a proxy that is no URL that requests can be sent to."""
    for key in ("server", "proxy-url"):
        text = cluster.get(key)
        if text is None:
            continue
        if not _is_http_url(str(text)):
            shown = hide_credentials(str(text))
            raise KubeconfigError(
                f"context {context!r} of {title} cannot be used: its {key} is not an HTTP URL",
                why=f"{key}: {shown!r} is not http:// or https:// with a host",
                next_step=f"correct `{key}:` of its cluster in {title}",
            )


def _is_http_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _check_file(settings: Object, key: str, folder: Path, title: str) -> Path | None:
    """Return the file that a setting names, or None. Raises KubeconfigError if it is unreadable."""
    if not settings.get(key):
        return None
    path = folder / Path(str(settings[key])).expanduser()
    if not path.is_file() or not os.access(path, os.R_OK):
        raise KubeconfigError(
            f"kubeconfig {title} names a file that cannot be read: {path}",
            why=f"{key}: " + ("Permission denied" if path.is_file() else "no such file"),
            next_step="bring the file there, or name another kubeconfig with --kubeconfig",
        )
    return path


def _check_pem(settings: Object, keys: Sequence[str], folder: Path, title: str) -> None:
    """Raise KubeconfigError for a certificate or a key that is not in PEM format."""
    for key in keys:
        data = settings.get(f"{key}-data")
        path = None if data else _check_file(settings, key, folder, title)
        try:
            content = b64decode(str(data)) if data else path.read_bytes() if path else None
        except (ValueError, OSError):
            content = b""
        if content is not None and b"-----BEGIN " not in content:
            raise KubeconfigError(
                f"kubeconfig {title} has an unusable {key}",
                why=f"{path or f'{key}-data'} is not in PEM format",
                next_step="fetch the kubeconfig again (MicroK8s: microk8s config > FILE)",
            )


def _check_login_program(user: Object, folder: Path, context: str) -> None:
    """Raise KubeconfigError if the user logs in with a program that is not installed."""
    plugin: Any = user.get("exec")
    if not isinstance(plugin, dict):
        return
    command = str(plugin.get("command", ""))
    # a command with a slash is relative to the kubeconfig, as in kubectl
    program = str(folder / command) if "/" in command else command
    if not shutil.which(program):
        raise KubeconfigError(
            f"context {context} logs in with a program that is not installed: {command}",
            why="its user in the kubeconfig has `exec`",
            next_step=str(plugin.get("installHint") or "").strip()
            or f"install {command}, or choose another --context",
        )
