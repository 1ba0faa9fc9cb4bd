"""Names that the shell completes. A list that cannot be read is empty, and nothing waits long."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import click

from mirror.core.errors import MirrorError
from mirror.core.wait import Deadline

_CLUSTER_SECONDS = 2  # a person waits at the prompt


def complete(
    list_names: Callable[[click.Context], Iterable[str]],
) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return the ``shell_complete`` of an option or argument whose values have these names."""

    def complete_name(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
        return [name for name in list_names(ctx) if name.startswith(incomplete)]

    return complete_name


def list_extensions(package: str) -> Callable[[click.Context], Iterable[str]]:
    """Return a function that lists the fixes, checks or delivery methods: a file is one of them."""

    def list_names(_: click.Context) -> Iterable[str]:
        from deploy.extensions import list_extension_names

        return [name.replace("_", "-") for name in list_extension_names(package)]

    return list_names


list_fixes = list_extensions("deploy.fixes")
list_categories = list_extensions("deploy.checks")
list_delivery_methods = list_extensions("deploy.delivery")


def list_checks(_: click.Context) -> Iterable[str]:
    from deploy.doctor import explain

    return explain.list_checks()


def list_recipes(_: click.Context) -> Iterable[str]:
    from images.recipes import list_recipe_names

    return list_recipe_names()


def list_contexts(ctx: click.Context) -> Iterable[str]:
    """Return the contexts of the kubeconfig."""
    from deploy.cluster.kubeconfig import read_contexts

    with suppress(MirrorError):
        return read_contexts(_get_kubeconfig(ctx))
    return ()


def list_namespaces(ctx: click.Context) -> Iterable[str]:
    """Return the namespaces of the cluster, if it answers at once."""
    from deploy.cluster.client import Cluster
    from deploy.cluster.objects import get_name

    with suppress(MirrorError):
        cluster = Cluster.connect(
            kubeconfig=_get_kubeconfig(ctx),
            context=ctx.params.get("context"),
            deadline=Deadline.after(_CLUSTER_SECONDS),
        )
        return sorted(map(get_name, cluster.list("Namespace")))
    return ()


def _get_kubeconfig(ctx: click.Context) -> Path | None:
    path: Path | None = ctx.params.get("kubeconfig")
    return path
