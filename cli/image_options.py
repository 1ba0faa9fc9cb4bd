"""Options about the mirror's image and about the delivery of images to the nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOptions:
    """The options as given, None if not given; the field names are the names of the options."""

    image: str | None
    base: str | None
    deliver: str | None
    registry: str | None
    import_command: str | None
    ssh: str | None


def image_options(function: F) -> F:
    """Add the options as ``image: ImageOptions``."""

    def with_image(
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

    with_image.__name__, with_image.__doc__ = function.__name__, function.__doc__
    wrapped: Any = with_image
    wrapped.__click_params__ = list(getattr(function, "__click_params__", []))
    wrapped = delivery_options("the first that can be used")(wrapped)
    wrapped = click.option("--base", metavar="IMAGE", help="Build on this base image.")(wrapped)
    image = click.option("--image", metavar="REF", help="Use this image instead of building one.")
    return image(wrapped)  # type: ignore[no-any-return]


def delivery_options(default: str) -> Callable[[F], F]:
    """Add --deliver, --registry, --import-command and --ssh, each a string or None.

    ``default`` tells in the help what happens without --deliver.
    """

    def decorate(function: F) -> F:
        wrapped: Any = function
        for option in (
            click.option(
                "--ssh",
                metavar="TEMPLATE",
                help="Import on each node with this command, which runs the words after it there; "
                "{node} and {address} are filled in. E.g. 'ssh -o BatchMode=yes {address}'",
            ),
            click.option(
                "--import-command",
                metavar="TEMPLATE",
                help="Import on each node with this command, which reads the image as a tar from "
                "stdin; {node} and {address} are filled in. E.g. 'ssh {address} sudo ctr -n k8s.io "
                "images import -'",
            ),
            click.option(
                "--registry",
                metavar="HOST[:PORT][/PATH]",
                help="Push the image there.  [default: MicroK8s' own registry]",
            ),
            click.option(
                "--deliver",
                metavar="METHOD",
                help="Bring the image to the nodes: nodes, ssh, registry, microk8s or kind.  "
                f"[default: {default}]",
            ),
        ):
            wrapped = option(wrapped)
        return wrapped  # type: ignore[no-any-return]

    return decorate
