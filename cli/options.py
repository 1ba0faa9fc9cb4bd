"""Options that several commands share, and the frozen dataclasses they become."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from mirror.core.errors import InputError

F = TypeVar("F", bound=Callable[..., Any])
OutputFormat = Literal["table", "json", "yaml"]

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """The cluster and namespace to use, and the time limit in seconds."""

    kubeconfig: Path | None
    context: str | None
    namespace: str
    timeout: float


def option_group(
    parameter: str, kind: type[Any], *options: Callable[[Any], Any]
) -> Callable[[F], F]:
    """Add options to a command, which gets them as one dataclass of type ``kind``.

    The fields of ``kind`` are the names of the options; ``parameter`` is the command's parameter.
    """
    names = [field.name for field in fields(kind)]

    def decorate(function: F) -> F:
        @wraps(function)
        def with_group(*args: Any, **kwargs: Any) -> Any:
            group = kind(**{name: kwargs.pop(name) for name in names})
            return function(*args, **{parameter: group}, **kwargs)

        wrapped: Any = with_group
        for option in reversed(options):
            wrapped = option(wrapped)
        return wrapped  # type: ignore[no-any-return]

    return decorate


def cluster_options(
    default_timeout: float = 300, *, mirror_flags: tuple[str, ...] = ("-n", "--namespace")
) -> Callable[[F], F]:
    """Add --kubeconfig, --context, --namespace, --timeout as ``target: ClusterOptions``.

    ``mirror_flags`` are the flags of the mirror's namespace, for commands in which --namespace is
    the namespace of workloads.
    """
    return option_group(
        "target",
        ClusterOptions,
        click.option(
            "--kubeconfig",
            type=click.Path(path_type=Path),
            help="Kubeconfig file.  [default: $KUBECONFIG, ~/.kube/config]",
        ),
        click.option("--context", help="Context of the kubeconfig.  [default: the current one]"),
        click.option(
            *mirror_flags,
            "namespace",
            default="pypi-mirror",
            show_default=True,
            help="Namespace of the mirror.",
        ),
        click.option(
            "--timeout",
            type=click.FloatRange(min=1),
            default=default_timeout,
            show_default=True,
            metavar="SECONDS",
            help="Stop after this long.",
        ),
    )


def output_option(function: F) -> F:
    """Add -o table|json|yaml as ``output``."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json", "yaml"]),
        default="table",
        show_default=True,
        help="Format of the result; progress goes to stderr.",
    )(function)


def local_option(function: F) -> F:
    """Add --local as ``local``."""
    return click.option(
        "--local", is_flag=True, help="Use the mirror on this machine, not one in a cluster."
    )(function)


def dry_run_option(function: F) -> F:
    """Add --dry-run as ``dry_run``."""
    return click.option(
        "--dry-run", is_flag=True, help="Show what would be written; write nothing."
    )(function)


def yes_option(function: F) -> F:
    """Add -y/--yes as ``yes``."""
    return click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")(function)


def check_can_ask(subject: str, *, yes: bool) -> None:
    """Raise InputError if a confirmation is needed and standard input is not a terminal."""
    if not yes and not sys.stdin.isatty():
        raise InputError(
            f"{subject}, and nobody can confirm it",
            why="standard input is not a terminal",
            next_step="look at the plan with --dry-run, then give --yes",
        )


def given_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given: those that are not None."""
    return {key: value for key, value in options.items() if value is not None}


def read_ca_option(path: Path | None) -> str | None:
    """Return the PEM text of --ca-bundle, or None. Raises InputError for an unusable file."""
    if path is None:
        return None
    from images.build_mirror import read_ca_bundle

    return read_ca_bundle(path)
