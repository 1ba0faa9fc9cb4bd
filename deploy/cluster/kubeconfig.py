"""Read a kubeconfig, and say what is wrong with it before a request is sent."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from mirror.core.codec import Object
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
    cluster_name = details.get("cluster") if isinstance(details, Mapping) else None
    folder, cluster = _find(files, "clusters", cluster_name)
    if not cluster or not isinstance(cluster.get("server"), str):
        raise KubeconfigError(
            f"context {chosen!r} of {title} has no cluster to talk to",
            why=f"there is no cluster {cluster_name!r} with a `server`",
            next_step=_NEXT,
        )
    user_name = details.get("user") if isinstance(details, Mapping) else None
    user_folder, user = _find(files, "users", user_name)
    _check_files(cluster, ("certificate-authority",), folder, title)
    _check_files(user, ("client-certificate", "client-key", "tokenFile"), user_folder, title)
    _check_login_program(user, user_folder, chosen)
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


def _find(files: Mapping[Path, Object], key: str, name: str | None) -> tuple[Path, Object]:
    """Return a cluster's or user's settings, and the folder that its paths are relative to."""
    for folder, item in _list_items(files, key):
        if item["name"] == name:
            settings = item.get(key.removesuffix("s"))
            return folder, settings if isinstance(settings, dict) else {}
    return Path(), {}


def _check_files(settings: Object, keys: Sequence[str], folder: Path, title: str) -> None:
    for key in keys:
        if settings.get(f"{key}-data") or not settings.get(key):
            continue
        path = folder / Path(str(settings[key])).expanduser()
        if not os.access(path, os.R_OK):
            raise KubeconfigError(
                f"kubeconfig {title} names a file that cannot be read: {path}",
                why=f"{key}: " + ("no such file" if not path.exists() else "Permission denied"),
                next_step="bring the file there, or embed it: kubectl config view --flatten",
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
