"""How an image is asked for on the command line, and how it gets to the nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from deploy.cluster.client import Cluster
from deploy.up import GetImage
from mirror.core.progress import Progress

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOptions:
    image: str | None
    base: str | None
    registry: str | None
    import_command: str | None
    deliver: str | None
    ca_bundle: Path | None = None


def image_options(function: F) -> F:
    def gathered(
        *args: Any,
        image: str | None,
        base: str | None,
        registry: str | None,
        import_command: str | None,
        deliver: str | None,
        **kwargs: Any,
    ) -> Any:
        options = ImageOptions(
            image=image,
            base=base,
            registry=registry,
            import_command=import_command,
            deliver=deliver,
        )
        return function(*args, image=options, **kwargs)

    gathered.__name__, gathered.__doc__ = function.__name__, function.__doc__
    wrapped: Any = gathered
    wrapped.__click_params__ = list(getattr(function, "__click_params__", []))
    for option in (
        click.option(
            "--import-command",
            metavar="TEMPLATE",
            help="How a node takes an image tar on stdin, with {node} and {address}.",
        ),
        click.option("--registry", metavar="HOST[:PORT][/PATH]", help="Push there."),
        click.option("--deliver", metavar="WAY", help="How the image gets to the nodes."),
        click.option("--base", metavar="IMAGE", help="Base image to build on."),
        click.option("--image", metavar="REF", help="A ready image."),
    ):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return]


def read_ca_bundle(path: Path | None) -> str | None:
    return path.read_text() if path else None


def image_source(
    cluster: Cluster, options: ImageOptions, progress: Progress, *, dry_run: bool
) -> GetImage:
    return lambda ground, remembered: options.image or remembered or "?"
