"""Read what a compose file says about the service that is built from a project."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from images.project.reading import Line
from images.project.shell import split_plain_command

COMPOSE_FILES = (
    *("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"),
    *("docker-compose.prod.yml", "docker-compose.production.yml", "compose.prod.yaml"),
    *("production.yml", "docker-compose.local.yml", "local.yml"),
)
_VARIABLE = re.compile(r"\$\{(\w+)(?::?-([^${}]*))?(?::?\?[^{}]*)?\}|\$(\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeService:
    """A service that is built from a folder.

    ``context`` and ``dockerfile`` are paths relative to the compose file's folder, ``others`` the
    names of the services beside it. ``argv`` is empty if the image's own command is used.
    """

    name: str
    context: str
    dockerfile: str
    target: str | None
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    port: int
    others: tuple[str, ...]
    line: Line
    command_line: Line


def read_compose(
    path: Path, name: str, variables: Mapping[str, str] | None = None
) -> tuple[ComposeService, ...]:
    """Return the services of a compose file that are built, () if it cannot be read.

    ``variables`` are those of the project's example of a .env file.
    """
    try:
        document = YAML(typ="rt").load(path.read_text(errors="replace"))
    except (OSError, YAMLError, ValueError, RecursionError):
        return ()
    services = document.get("services") if isinstance(document, CommentedMap) else None
    if not isinstance(services, CommentedMap):
        return ()
    return tuple(_Reader(variables or {}).read_services(services, name))


def _key_line(mapping: CommentedMap, key: Any, file: str) -> Line:
    number = mapping.lc.key(key)[0] + 1 if key in mapping else 0
    return Line(file=file, number=number)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads services with the values of variables."""

    variables: Mapping[str, str]

    def read_services(self, services: CommentedMap, file: str) -> Iterator[ComposeService]:
        for name, service in services.items():
            if not isinstance(service, CommentedMap) or "build" not in service:
                continue
            build = service["build"]
            details = build if isinstance(build, Mapping) else {"context": build}
            context = self._substitute(str(details.get("context", ".")))
            target = details.get("target")
            others = (other for other in services if other != name)
            yield ComposeService(
                name=str(name),
                context=posixpath.normpath(context),
                dockerfile=self._substitute(str(details.get("dockerfile", "Dockerfile"))),
                target=self._substitute(str(target)) if target else None,
                argv=self._read_argv(service),
                environment=dict(self._read_environment(service.get("environment"))),
                port=self._read_port(service),
                others=tuple(str(other) for other in others),
                line=_key_line(services, name, file),
                command_line=_key_line(service, "command", file),
            )

    def _read_argv(self, service: Mapping[str, Any]) -> tuple[str, ...]:
        """Return entrypoint and command together; a text that needs a shell gets one.

        Empty if a word needs a variable that is not known.
        """
        argv: list[str] = []
        for key in ("entrypoint", "command"):
            value = service.get(key)
            if isinstance(value, list):
                argv += [self._substitute(str(word)) for word in value]
            elif isinstance(value, str) and value.strip():
                # compose writes $$ for a $ that the container's shell shall see
                text = self._substitute(value).replace("$$", "$")
                argv += split_plain_command(text) or ("/bin/sh", "-c", text)
        is_known = not any(re.search(r"\$\{\w+[:?]*\?", word) for word in argv)
        return tuple(argv) if service.get("command") and is_known else ()

    def _read_environment(self, value: object) -> Iterator[tuple[str, str]]:
        """Yield the variables whose value is known without the user's own environment."""
        if isinstance(value, Mapping):
            pairs = [(str(key), "" if item is None else str(item)) for key, item in value.items()]
        elif isinstance(value, list):
            pairs = [(str(item).partition("=")[0], str(item).partition("=")[2]) for item in value]
        else:
            return
        for key, text in pairs:
            known = self._substitute(text)
            if known and "$" not in known:
                yield key, known

    def _read_port(self, service: Mapping[str, Any]) -> int:
        """Return the container's port of the first mapping, 0 if there is none."""
        for entry in service.get("ports") or service.get("expose") or ():
            text = str(entry.get("target", "")) if isinstance(entry, Mapping) else str(entry)
            port = self._substitute(text).partition("/")[0].rpartition(":")[2]
            if port.isdigit():
                return int(port)
        return 0

    def _substitute(self, text: str) -> str:
        """Replace variables that are known or have a default; leave the others."""

        def replace(match: re.Match[str]) -> str:
            known = self.variables.get(match[1] or match[3])
            return known or (match[0] if match[2] is None else match[2])

        return _VARIABLE.sub(replace, text.replace("$$", "\0")).replace("\0", "$$")
