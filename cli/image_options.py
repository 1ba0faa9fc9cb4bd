"""Options that say where the mirror's image comes from and how it gets to the nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOptions:
    """As they were given; deploy.lifecycle.image.Wish is what becomes of them."""

    image: str | None
    base: str | None
    deliver: str | None
    registry: str | None
    import_command: str | None
    ssh: str | None


def image_options(function: F) -> F:
    """What says where the image comes from and how it is delivered, as ``image: ImageOptions``."""

    def gathered(
        *args: Any,
        image: str | None,
        base: str | None,
        deliver: str | None,
        registry: str | None,
        import_command: str | None,
        ssh: str | None,
        **kwargs: Any,
    ) -> Any:
        options = ImageOptions(
            image=image,
            base=base,
            deliver=deliver,
            registry=registry,
            import_command=import_command,
            ssh=ssh,
        )
        return function(*args, image=options, **kwargs)

    gathered.__name__, gathered.__doc__ = function.__name__, function.__doc__
    wrapped: Any = gathered
    wrapped.__click_params__ = list(getattr(function, "__click_params__", []))
    for option in (
        click.option(
            "--ssh",
            metavar="TEMPLATE",
            help="Import on each node over this command, which runs the words after it there; "
            "{node} and {address} are filled in. E.g. 'ssh -o BatchMode=yes {address}'",
        ),
        click.option(
            "--import-command",
            metavar="TEMPLATE",
            help="Import on each node by this command, the image's tar on its stdin; "
            "{node} and {address} are filled in. E.g. 'ssh {address} sudo ctr -n k8s.io "
            "images import -'",
        ),
        click.option(
            "--registry",
            metavar="HOST[:PORT][/PATH]",
            help="Push the image there.  [default: the cluster's own, as MicroK8s has it]",
        ),
        click.option(
            "--deliver",
            metavar="WAY",
            help="nodes, ssh, registry, microk8s or kind.  [default: the first that can be used]",
        ),
        click.option("--base", metavar="IMAGE", help="Build on this base image."),
        click.option("--image", metavar="REF", help="Use this image instead of building one."),
    ):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return]
