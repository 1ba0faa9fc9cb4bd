"""`mirror env`: what makes a workload use the index."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping

import click

from cli.options import ClusterOptions, cluster_options, local_option
from cli.output import terminal
from deploy.manifests.mirror_objects import render_environment_map
from deploy.manifests.model import ENV_MAP
from mirror.core.errors import InputError
from mirror.core.wait import Deadline
from mirror.local.mirror import LocalMirror
from mirror.settings import Endpoint


@click.command()
@local_option
@cluster_options(default_timeout=30)
@click.option(
    "--format",
    "form",
    type=click.Choice(["shell", "dotenv", "json", "configmap"]),
    default="shell",
    show_default=True,
    help="configmap: the object as YAML, for GitOps.",
)
@click.option("--publish", is_flag=True, help="Put it into the given namespaces as a ConfigMap.")
@click.argument("namespaces", nargs=-1, metavar="[NAMESPACE]...")
def env(
    local: bool, target: ClusterOptions, form: str, publish: bool, namespaces: tuple[str, ...]
) -> None:
    """Print what makes uv and pip use the mirror, or publish it.

    \b
    eval "$(mirror env)"                    this shell
    mirror env --format dotenv > .env       a file for compose or systemd
    mirror env --publish chronicle speech   a ConfigMap `pypi-mirror-env` in these namespaces
    """
    if publish != bool(namespaces):
        raise InputError(
            "--publish takes the namespaces of the workloads, and they take --publish",
            next_step="mirror env --publish chronicle",
        )
    if local:
        if publish:
            raise InputError(
                "--publish: not with --local",
                why="pods do not reach a mirror on this machine's loopback",
                next_step="mirror up, then mirror env --publish NAMESPACE",
            )
        endpoint = LocalMirror().require_endpoint(Deadline.after(target.timeout))
    else:
        # not at the top: Kubernetes' client takes a second to load, and --local needs none of it
        from cli.connect import connect
        from deploy.lifecycle import connect as connect_module
        from deploy.lifecycle import publish as publish_module

        if publish:
            endpoint = publish_module.publish_environment(
                connect(target), target.namespace, namespaces
            )
            _tell(endpoint, namespaces)
            return
        endpoint = connect_module.read_endpoint(connect(target), target.namespace)
    if form == "configmap":
        terminal.yaml_documents([render_environment_map(None, endpoint)])
    else:
        click.echo(render(endpoint.environment(), form))


def _tell(endpoint: Endpoint, namespaces: tuple[str, ...]) -> None:
    for name in namespaces:
        click.echo(f"published in {name}: ConfigMap {ENV_MAP}  ({endpoint.url})")
    click.echo("\nnext: let the containers take it, by kubectl or in their manifests:")
    for name in namespaces:
        click.echo(f"  kubectl -n {name} set env deployment/NAME --from=configmap/{ENV_MAP}")
    click.echo(f"  envFrom: [{{configMapRef: {{name: {ENV_MAP}}}}}]")


def render(environment: Mapping[str, str], form: str) -> str:
    """One environment in a form that a shell, a dotenv reader or a program takes."""
    if form == "json":
        return json.dumps(dict(environment), indent=2)
    prefix = "export " if form == "shell" else ""
    return "\n".join(f"{prefix}{key}={shlex.quote(value)}" for key, value in environment.items())
