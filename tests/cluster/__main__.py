"""The lab's command line: python -m tests.cluster build|up|down|status|kubeconfig|exec|reset."""

from __future__ import annotations

import os
import sys
import time

import click

from tests.cluster.lab import Lab, LabError, bring_up, find_lab, list_labs, prepare, take_down
from tests.cluster.options import LabOptions
from tests.cluster.process import CommandError
from tests.cluster.waiting import ConditionTimeout, WaitAborted

name_option = click.option("--name", default="lab", show_default=True, help="Name of the lab.")


@click.group()
def main() -> None:
    """Run a real Kubernetes on this machine, for tests. Needs root."""


def show_progress(text: str) -> None:
    click.echo(text, err=True)


@main.command()
def build() -> None:
    """Install and build everything that `up` needs. The result is cached."""
    prepare(show_progress)


@main.command()
@name_option
@click.option(
    "--poisoned", is_flag=True, help="DNS answers NOERROR for every name of the search domain."
)
@click.option("--aaaa", is_flag=True, help="DNS answers AAAA for every name that has an A record.")
@click.option(
    "--no-ipv6-route", is_flag=True, help="Dual stack without an IPv6 route to the outside."
)
@click.option(
    "--cut-egress", is_flag=True, help="Only the mirror's pods may connect to the outside."
)
@click.option("--calico", is_flag=True, help="Use Calico's CNI plugin and IPAM.")
@click.option("--all-faults", "--field", is_flag=True, help="All four network faults at once.")
@click.option("--host", "hosts", multiple=True, metavar="NAME=ADDRESS", help="Add a name to DNS.")
def up(
    name: str,
    poisoned: bool,
    aaaa: bool,
    no_ipv6_route: bool,
    cut_egress: bool,
    calico: bool,
    all_faults: bool,
    hosts: tuple[str, ...],
) -> None:
    """Start a lab, which runs until `down`."""
    started = time.monotonic()
    options = LabOptions(
        name=name,
        poisoned=poisoned or all_faults,
        aaaa=aaaa or all_faults,
        no_ipv6_route=no_ipv6_route or all_faults,
        cut_egress=cut_egress or all_faults,
        calico=calico,
        hosts=dict(pair.split("=", 1) for pair in hosts),
    )
    lab = bring_up(options, outlives_owner=True, progress=show_progress)
    click.echo(f"lab {name} is ready after {time.monotonic() - started:.0f} s", err=True)
    click.echo(f"export KUBECONFIG={lab.kubeconfig}")


@main.command()
@name_option
@click.option("--all", "all_labs", is_flag=True, help="Stop every lab.")
def down(name: str, all_labs: bool) -> None:
    """Stop a lab and remove everything that belongs to it."""
    for lab_name in [lab.name for lab in list_labs()] if all_labs else [name]:
        click.echo(
            f"lab {lab_name} {'is stopped' if take_down(lab_name) else 'was not running'}", err=True
        )


@main.command()
def status() -> None:
    """List the running labs and their nodes."""
    for lab in list_labs():
        try:
            click.echo(f"{lab.name}: nodes {', '.join(lab.nodes)}; {lab.kubeconfig}")
        except LabError as error:
            click.echo(str(error))


@main.command()
@name_option
def kubeconfig(name: str) -> None:
    """Print the path of a lab's kubeconfig."""
    click.echo(_find_running_lab(name).kubeconfig)


@main.command(name="exec", context_settings={"ignore_unknown_options": True})
@name_option
@click.argument("node")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def execute(name: str, node: str, command: tuple[str, ...]) -> None:
    """Run a command on a node (default: a shell)."""
    argv = (*_find_running_lab(name).enter_command(node), *(command or ("bash",)))
    os.execvp(argv[0], argv)


@main.command()
@name_option
def reset(name: str) -> None:
    """Replace the cluster of a lab with an empty one."""
    _find_running_lab(name).reset()


def _find_running_lab(name: str) -> Lab:
    lab = find_lab(name)
    if lab is None:
        raise LabError(f"lab {name} is not running: python -m tests.cluster up --name {name}")
    return lab


if __name__ == "__main__":
    try:
        main()
    except (LabError, ConditionTimeout, WaitAborted, CommandError, LookupError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
