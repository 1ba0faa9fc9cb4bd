"""Options for delivering an image to the nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import click

from cli import completion
from cli.inputs import Checked, check_extension, check_registry
from cli.options import option_group

if TYPE_CHECKING:
    from deploy.delivery import DeliveryOptions

F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFlags:
    """The options as given, None if not given; the field names are the names of the options."""

    deliver: str | None
    registry: str | None
    import_command: str | None
    ssh: str | None

    def to_delivery_options(self) -> DeliveryOptions:
        from deploy.delivery import DeliveryOptions

        return DeliveryOptions(
            method=None if self.deliver == "auto" else self.deliver,
            registry=self.registry,
            import_command=self.import_command,
            ssh=self.ssh,
        )


def delivery_options(default: str) -> Callable[[F], F]:
    """Add the options as ``delivery: DeliveryFlags``.

    ``default`` is the text that the help shows as the default of --deliver.
    """
    return option_group(
        "delivery",
        DeliveryFlags,
        click.option(
            "--deliver",
            type=Checked(
                "method",
                check_extension(
                    "deploy.delivery", "delivery method", "give --deliver {name}", "auto"
                ),
                completion.list_delivery_methods,
            ),
            metavar="METHOD",
            help="Bring the image to the nodes: auto, nodes, ssh, registry, microk8s or kind.  "
            f"[default: {default}]",
        ),
        click.option(
            "--registry",
            type=Checked("registry", check_registry),
            metavar="HOST[:PORT][/PATH]",
            help="Push the image there.  [default: MicroK8s' own registry]",
        ),
        click.option(
            "--import-command",
            metavar="TEMPLATE",
            help="Import on each node with this command, which reads the image as a tar from "
            "stdin; {node} and {address} are filled in. E.g. 'ssh {address} sudo ctr -n k8s.io "
            "images import -'",
        ),
        click.option(
            "--ssh",
            metavar="TEMPLATE",
            help="Import on each node with this command, which runs the words after it there; "
            "{node} and {address} are filled in. E.g. 'ssh -o BatchMode=yes {address}'",
        ),
    )
