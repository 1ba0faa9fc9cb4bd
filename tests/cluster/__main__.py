"""The lab by hand: python -m tests.cluster up|down|status|kubeconfig|exec|reset."""

from __future__ import annotations

import os
import sys
import time

import click

from tests.cluster.lab import Lab, LabError, bring_up, find_lab, list_labs, prepare, take_down
from tests.cluster.options import LabOptions
from tests.cluster.process import CommandError
from tests.cluster.waiting import ConditionTimeout, WaitAborted

named = click.option("--name", default="lab", show_default=True, help="Which lab.")


@click.group()
def main() -> None:
    """A real Kubernetes on this machine, for tests. Needs root."""


def tell(text: str) -> None:
    click.echo(text, err=True)


@main.command()
def build() -> None:
    """Make all that `up` needs: packages, programs, images. Once; cached."""
    prepare(tell)


@main.command()
@named
@click.option("--poisoned", is_flag=True, help="A search domain that answers every name, empty.")
@click.option("--aaaa", is_flag=True, help="DNS answers AAAA for every name that has an A.")
@click.option("--no-ipv6-route", is_flag=True, help="Dual stack, with no IPv6 to the outside.")
@click.option("--cut-egress", is_flag=True, help="Only the mirror's pods may reach out.")
@click.option("--calico", is_flag=True, help="Calico's own CNI plugin and IPAM.")
@click.option("--field", is_flag=True, help="All four at once.")
@click.option("--host", "hosts", multiple=True, metavar="NAME=ADDRESS", help="A name DNS knows.")
def up(
    name: str,
    poisoned: bool,
    aaaa: bool,
    no_ipv6_route: bool,
    cut_egress: bool,
    calico: bool,
    field: bool,
    hosts: tuple[str, ...],
) -> None:
    """Start a lab; it stays until `down`."""
    begun = time.monotonic()
    options = LabOptions(
        name=name,
        poisoned=poisoned or field,
        aaaa=aaaa or field,
        no_ipv6_route=no_ipv6_route or field,
        cut_egress=cut_egress or field,
        calico=calico,
        hosts=dict(pair.split("=", 1) for pair in hosts),
    )
    lab = bring_up(options, outlives_owner=True, progress=tell)
    click.echo(f"lab {name} is ready after {time.monotonic() - begun:.0f} s", err=True)
    click.echo(f"export KUBECONFIG={lab.kubeconfig}")


@main.command()
@named
@click.option("--all", "every", is_flag=True, help="Every lab.")
def down(name: str, every: bool) -> None:
    """End a lab and remove all that is left of it."""
    for each in [lab.name for lab in list_labs()] if every else [name]:
        click.echo(f"lab {each} {'is down' if take_down(each) else 'was not up'}", err=True)


@main.command()
def status() -> None:
    """List the labs that run, with their nodes."""
    for lab in list_labs():
        try:
            click.echo(f"{lab.name}: nodes {', '.join(lab.nodes)}; {lab.kubeconfig}")
        except LabError as error:
            click.echo(str(error))


@main.command()
@named
def kubeconfig(name: str) -> None:
    """Print the path of a lab's kubeconfig."""
    click.echo(_found(name).kubeconfig)


@main.command(name="exec", context_settings={"ignore_unknown_options": True})
@named
@click.argument("node")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def execute(name: str, node: str, command: tuple[str, ...]) -> None:
    """Run a command on a node (a shell, when none is given)."""
    argv = (*_found(name).enter_command(node), *(command or ("bash",)))
    os.execvp(argv[0], argv)


@main.command()
@named
def reset(name: str) -> None:
    """Make the cluster of a lab as new."""
    _found(name).reset()


def _found(name: str) -> Lab:
    lab = find_lab(name)
    if lab is None:
        raise LabError(f"no lab named {name} is up: python -m tests.cluster up --name {name}")
    return lab


if __name__ == "__main__":
    try:
        main()
    except (LabError, ConditionTimeout, WaitAborted, CommandError, LookupError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
