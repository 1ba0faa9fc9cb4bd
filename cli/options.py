"""Options that several commands share, and the frozen settings they become."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
OutputFormat = Literal["table", "json", "yaml"]

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """Which cluster, which namespace, and for how long (seconds) at most."""

    kubeconfig: Path | None
    context: str | None
    namespace: str
    timeout: float


def cluster_options(
    default_timeout: float = 300, *, mirror_flags: tuple[str, ...] = ("-n", "--namespace")
) -> Callable[[F], F]:
    """--kubeconfig, --context, --namespace and --timeout as one ``target: ClusterOptions``.

    ``mirror_flags`` name the mirror's namespace where --namespace is that of workloads.
    """

    def decorate(function: F) -> F:
        def gathered(
            *args: Any,
            kubeconfig: Path | None,
            context: str | None,
            namespace: str,
            timeout: float,
            **kwargs: Any,
        ) -> Any:
            target = ClusterOptions(
                kubeconfig=kubeconfig, context=context, namespace=namespace, timeout=timeout
            )
            return function(*args, target=target, **kwargs)

        gathered.__name__, gathered.__doc__ = function.__name__, function.__doc__
        wrapped: Any = gathered
        wrapped.__click_params__ = list(getattr(function, "__click_params__", []))
        for option in (
            click.option(
                "--timeout",
                type=click.FloatRange(min=1),
                default=default_timeout,
                show_default=True,
                metavar="SECONDS",
                help="Give up after this long.",
            ),
            click.option(
                *mirror_flags,
                "namespace",
                default="pypi-mirror",
                show_default=True,
                help="Namespace of the mirror.",
            ),
            click.option("--context", help="Context of the kubeconfig.  [default: the current]"),
            click.option(
                "--kubeconfig",
                type=click.Path(path_type=Path),
                help="Kubeconfig file.  [default: $KUBECONFIG, ~/.kube/config]",
            ),
        ):
            wrapped = option(wrapped)
        return wrapped  # type: ignore[no-any-return]

    return decorate


def output_option(function: F) -> F:
    """-o table|json|yaml as ``output``."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json", "yaml"]),
        default="table",
        show_default=True,
        help="How the result is printed; progress goes to stderr.",
    )(function)


def local_option(function: F) -> F:
    """--local as ``local``."""
    return click.option(
        "--local", is_flag=True, help="The mirror on this machine instead of a cluster's."
    )(function)


def dry_run_option(function: F) -> F:
    """--dry-run as ``dry_run``."""
    return click.option(
        "--dry-run", is_flag=True, help="Show what would be written; write nothing."
    )(function)
