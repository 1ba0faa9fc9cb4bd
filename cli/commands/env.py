"""`mirror env`: the environment that makes uv and pip use the mirror."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping

import click

from cli.index_session import read_addresses
from cli.options import (
    NAMESPACE,
    AliasedOption,
    ClusterOptions,
    cluster_options,
    dry_run_option,
    local_option,
)
from cli.output import terminal
from deploy.manifests.mirror_objects import render_environment_map
from deploy.manifests.model import ENV_MAP
from mirror.core.errors import InputError
from mirror.core.wait import Deadline
from mirror.local.mirror import LocalMirror
from mirror.lock_urls import IndexAddresses
from mirror.settings import Endpoint


@click.command()
@local_option
@cluster_options("30s")
@click.option(
    "-o",
    "--output",
    "environment_format",
    cls=AliasedOption,
    old=["--format"],
    type=click.Choice(["shell", "dotenv", "json", "yaml", "configmap", "uv.toml"]),
    default="shell",
    show_default=True,
    help="configmap: the object as YAML, for GitOps. uv.toml: a proxy index, which leaves the URLs "
    "of locks as they are; for versions of uv that have these.",
)
@click.option("--publish", is_flag=True, help="Write it to a ConfigMap in the given namespaces.")
@dry_run_option
@click.argument("namespaces", nargs=-1, type=NAMESPACE, metavar="[NAMESPACE]...")
def env(
    local: bool,
    target: ClusterOptions,
    environment_format: str,
    publish: bool,
    dry_run: bool,
    namespaces: tuple[str, ...],
) -> None:
    """Print or publish the environment that makes uv and pip use it.

    \b
    eval "$(mirror env)"                    this shell
    mirror env -o dotenv > .env             a file for Compose or systemd
    mirror env --publish chronicle speech   a ConfigMap there
    """
    if publish != bool(namespaces):
        raise InputError(
            "--publish needs the namespaces of the workloads, and namespaces need --publish",
            why="without --publish, the environment is only printed",
            next_step="mirror env --publish chronicle",
        )
    if dry_run and not publish:
        raise InputError(
            "--dry-run needs --publish",
            why="without --publish, the environment is only printed",
            next_step="omit --dry-run",
        )
    if local:
        if publish:
            raise InputError(
                "--publish cannot be used with --local",
                why="pods cannot reach a mirror on this machine's loopback address",
                next_step="mirror up, then mirror env --publish NAMESPACE",
            )
        endpoint = LocalMirror().require_endpoint(Deadline.after(target.timeout))
    else:
        # imported here: the Kubernetes client takes a second to load, and --local does not need it
        from deploy.lifecycle.connect import read_endpoint
        from deploy.lifecycle.publish import publish_environment

        if publish:
            cluster = target.connect()
            endpoint = publish_environment(cluster, target.namespace, namespaces, dry_run=dry_run)
            if dry_run:
                for name in namespaces:
                    click.echo(
                        f"would be published in {name}: ConfigMap {ENV_MAP}  ({endpoint.url})"
                    )
                return
            _print_published(endpoint, namespaces)
            return
        endpoint = read_endpoint(target.connect(), target.namespace)
    if environment_format == "uv.toml":
        index, mirror = read_addresses(local, target)
        click.echo(render_uv_index(index, mirror), nl=False)
        return
    if environment_format == "configmap":
        terminal.yaml_documents([render_environment_map(None, endpoint)])
    else:
        variables = endpoint.environment() | bypass_proxies(str(endpoint.address), os.environ)
        click.echo(render_environment(variables, environment_format))


def render_uv_index(index: IndexAddresses, mirror: IndexAddresses) -> str:
    """Return uv's configuration of a proxy index: locks keep the URLs of the index."""
    lines = [
        "[[index]]",
        'name = "pypi-mirror"',
        f"url = {json.dumps(mirror.index)}",
        f"proxy-for = {json.dumps(index.index)}",
        f"artifact-base-url = {json.dumps(mirror.files)}",
    ]
    if index.files:  # uv has to know where the proxied index keeps its files, too
        lines += [
            "",
            "[[index]]",
            'name = "upstream"',
            f"url = {json.dumps(index.index)}",
            f"artifact-base-url = {json.dumps(index.files)}",
            "default = true",
        ]
    return "\n".join(lines) + "\n"


def bypass_proxies(address: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return NO_PROXY and no_proxy with the entries of both, and the mirror's address.

    A proxy cannot reach the mirror. Programs differ in which of the two they read.
    """
    present = ",".join(environment.get(name, "") for name in ("NO_PROXY", "no_proxy"))
    entries = [entry for entry in present.replace(",", " ").split() if entry]
    if "*" in entries:
        return {}
    value = ",".join(dict.fromkeys([*entries, address]))
    return {"NO_PROXY": value, "no_proxy": value}


def _print_published(endpoint: Endpoint, namespaces: tuple[str, ...]) -> None:
    for name in namespaces:
        click.echo(f"published in {name}: ConfigMap {ENV_MAP}  ({endpoint.url})")
    click.echo("\nnext: add it to the containers, with kubectl or in their manifests:")
    for name in namespaces:
        click.echo(f"  kubectl -n {name} set env deployment/NAME --from=configmap/{ENV_MAP}")
    click.echo(f"  envFrom: [{{configMapRef: {{name: {ENV_MAP}}}}}]")


def render_environment(environment: Mapping[str, str], environment_format: str) -> str:
    """Return the variables as shell exports, dotenv lines, JSON or YAML."""
    if environment_format in {"json", "yaml"}:  # of strings, JSON is YAML
        return json.dumps(dict(environment), indent=2)
    prefix = "export " if environment_format == "shell" else ""
    return "\n".join(f"{prefix}{key}={shlex.quote(value)}" for key, value in environment.items())
