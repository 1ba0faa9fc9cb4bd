"""Options that several commands share, and the frozen dataclasses they become."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click
from click.core import ParameterSource

from cli import completion, inputs
from cli.inputs import Checked
from cli.program import TYPED
from mirror.core.errors import InputError
from mirror.core.wait import Deadline
from mirror.policy import check_age, check_rule
from mirror.settings import check_dns_label, check_host_name, check_port
from mirror.upstreams import check_pin, check_upstream, split_option

if TYPE_CHECKING:
    from deploy.cluster.client import Cluster

F = TypeVar("F", bound=Callable[..., Any])
OutputFormat = Literal["table", "json", "yaml", "name"]

FILE = click.Path(path_type=Path)
DURATION = Checked("duration", inputs.parse_duration)
NAMESPACE = Checked(
    "namespace", partial(check_dns_label, what="namespace"), completion.list_namespaces
)
IMAGE = Checked("image", inputs.check_image)
ENDPOINT = Checked("host", inputs.check_endpoint)
OUTPUT_FILE = Checked("file", inputs.check_output_path)
RESOURCE = Checked("name", inputs.check_resource_name)


class AliasedOption(click.Option):
    """An option with old spellings, which work but are not in the help."""

    def __init__(self, names: Sequence[str], old: Sequence[str] = (), **attributes: Any) -> None:
        super().__init__([*names, *old], **attributes)
        self._shown = [flag for flag in self.opts if flag not in old]

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        every, self.opts = self.opts, self._shown
        try:
            return super().get_help_record(ctx)
        finally:
            self.opts = every


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """The cluster and the mirror's namespace, and the time limit in seconds."""

    kubeconfig: Path | None
    context: str | None
    namespace: str
    timeout: float

    def connect(self) -> Cluster:
        """Return the cluster of the chosen context; its deadline begins now."""
        # imported here: the Kubernetes client takes half a second, and --local does not need it
        from deploy.cluster.client import Cluster
        from deploy.cluster.kubeconfig import KubeconfigError

        try:
            return Cluster.connect(
                kubeconfig=self.kubeconfig,
                context=self.context,
                deadline=Deadline.after(self.timeout),
            )
        except KubeconfigError as error:
            command = click.get_current_context()
            if "local" in command.params:
                error.next_step += (
                    f", or use the mirror on this machine: {command.command_path} --local"
                )
            raise


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """How a command that changes objects asks, writes and reports."""

    force: bool
    dry_run: bool
    yes: bool
    output: OutputFormat

    def check_can_ask(self, subject: str) -> None:
        check_can_ask(subject, yes=self.yes)


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorOptions:
    """The settings of a mirror that `up` and `manifests` take; None if not given."""

    port: int | None
    upstream: tuple[str, ...]
    pin: tuple[str, ...]
    min_age: str | None
    allow: tuple[str, ...]
    deny: tuple[str, ...]
    allow_host: tuple[str, ...]
    ca_bundle: Path | None
    size: str | None
    storage_class: str | None
    node: str | None
    node_port: int | None
    pull_secret: str | None

    def list_given(self) -> dict[str, Any]:
        """Return the given ones by name, without the CA bundle."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("ca_bundle", "upstream", "pin", "allow", "deny", "allow_host"):
            del values[name]
        upstreams = split_option(self.upstream) if self.upstream else {}
        lists = {
            "pins": _read_list(self.pin),
            "allow": _read_list(self.allow),
            "deny": _read_list(self.deny),
            "allow_hosts": _read_list(self.allow_host),
        }
        return {**given_options(values), **upstreams, **given_options(lists)}

    def read_ca(self) -> str | None:
        """Return the PEM text of --ca-bundle, or None. Raises InputError for an unusable file."""
        return read_ca_option(self.ca_bundle)


def check_list_entry(check: Callable[[str], str]) -> Callable[[str], str]:
    """Return a check that also allows an empty text, which empties a remembered list."""
    return lambda text: check(text) if text else text


def _read_list(values: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the values of a repeatable option without empty ones; None if it was not given."""
    return tuple(filter(None, values)) if values else None


def option_group(
    parameter: str, kind: type[Any], *options: Callable[[Any], Any]
) -> Callable[[F], F]:
    """Add options to a command, which gets them as one dataclass of type ``kind``.

    The fields of ``kind`` are the names of the options; ``parameter`` is the command's parameter.
    """
    names = [field.name for field in fields(kind)]

    def decorate(function: F) -> F:
        @wraps(function)
        def with_group(*args: Any, **kwargs: Any) -> Any:
            group = kind(**{name: kwargs.pop(name) for name in names})
            return function(*args, **{parameter: group}, **kwargs)

        wrapped: Any = with_group
        for option in reversed(options):
            wrapped = option(wrapped)
        return wrapped  # type: ignore[no-any-return]

    return decorate


def cluster_options(
    default_timeout: str = "5m", *, about_workloads: bool = False
) -> Callable[[F], F]:
    """Add --kubeconfig, --context, --mirror-namespace, --timeout as ``target: ClusterOptions``.

    The mirror's namespace can be given as -n and --namespace too, its old spellings, unless the
    command is ``about_workloads``: there they are the namespace of workloads, as in kubectl.
    """
    return option_group(
        "target",
        ClusterOptions,
        click.option(
            "--kubeconfig",
            type=FILE,
            metavar="FILE",
            help="Kubeconfig file.  [default: $KUBECONFIG, ~/.kube/config]",
        ),
        click.option(
            "--context",
            metavar="NAME",
            shell_complete=completion.complete(completion.list_contexts),
            help="Context of the kubeconfig.  [default: the current one]",
        ),
        click.option(
            "--mirror-namespace",
            "namespace",
            cls=AliasedOption,
            old=() if about_workloads else ("-n", "--namespace"),
            type=NAMESPACE,
            default="pypi-mirror",
            show_default=True,
            metavar="NAME",
            help="Namespace of the mirror.",
        ),
        click.option(
            "--timeout",
            type=DURATION,
            default=default_timeout,
            show_default=True,
            metavar="DURATION",
            help="Stop after this long: 90, 90s, 5m, 1h.",
        ),
    )


def mirror_options(function: F) -> F:
    """Add the settings of a mirror as ``settings: MirrorOptions``."""
    return option_group(
        "settings",
        MirrorOptions,
        click.option(
            "--port",
            type=int,
            callback=_if_given(check_port),
            metavar="PORT",
            help="Port of the index.  [default: 3141]",
        ),
        click.option(
            "--upstream",
            multiple=True,
            type=Checked("url", check_upstream),
            metavar="[NAME=]URL",
            help="Index to mirror; repeatable, the first that has a project wins. `default` is "
            "devpi's own.  [default: default]",
        ),
        click.option(
            "--pin",
            multiple=True,
            type=Checked("pin", check_list_entry(check_pin)),
            metavar="PROJECT=NAME",
            help="Take a project from this upstream only; repeatable. '' removes all pins.",
        ),
        click.option(
            "--min-age",
            type=Checked("age", check_age),
            metavar="AGE",
            help="Hide public files that are younger: 7d, 36h; 0 hides none.",
        ),
        click.option(
            "--allow",
            multiple=True,
            type=Checked("rule", check_list_entry(check_rule)),
            metavar="RULE",
            help="Serve only these public projects: NAME, acme-*, 'lib<2'. '' allows all.",
        ),
        click.option(
            "--deny",
            multiple=True,
            type=Checked("rule", check_list_entry(check_rule)),
            metavar="RULE",
            help="Hide these public projects or versions; repeatable. '' denies none.",
        ),
        click.option(
            "--allow-host",
            multiple=True,
            type=Checked("host", check_list_entry(check_host_name)),
            metavar="HOST",
            help="Also answer under this name, such as an Ingress's; repeatable. '' removes all.",
        ),
        click.option(
            "--ca-bundle",
            type=FILE,
            metavar="FILE",
            help="CA certificates (PEM) to trust, where the network intercepts TLS.",
        ),
        click.option(
            "--size",
            type=Checked("size", inputs.check_quantity),
            metavar="QUANTITY",
            help="Size of the volume.  [default: 20Gi]",
        ),
        click.option(
            "--storage-class",
            type=RESOURCE,
            metavar="NAME",
            help="[default: the cluster's default]",
        ),
        click.option(
            "--node", type=RESOURCE, metavar="NAME", help="Run on this node.  [default: any]"
        ),
        click.option(
            "--node-port",
            type=Checked("port", inputs.check_node_port),
            metavar="PORT",
            help="Also serve on this port of every node.",
        ),
        click.option(
            "--pull-secret",
            type=RESOURCE,
            metavar="NAME",
            help="Secret of the registry that the image is pulled from.",
        ),
    )(function)


def write_options(function: F) -> F:
    """Add --force, --dry-run, --yes and --output as ``write: WriteOptions``."""
    return option_group(
        "write",
        WriteOptions,
        click.option(
            "--force", is_flag=True, help="Discard later edits that overlap; the plan names them."
        ),
        dry_run_option,
        yes_option,
        output_option,
    )(function)


def output_option(function: F) -> F:
    """Add -o table|json|yaml as ``output``."""
    return _output_option(("table", "json", "yaml"))(function)


def list_output_option(function: F) -> F:
    """Add -o table|json|yaml|name as ``output``, for commands that list things."""
    return _output_option(("table", "json", "yaml", "name"))(function)


def _output_option(formats: Sequence[str]) -> Callable[[F], F]:
    return click.option(
        "-o",
        "--output",
        type=click.Choice(formats),
        default="table",
        show_default=True,
        help="Format of the result; progress goes to stderr.",
    )


def local_option(function: F) -> F:
    """Add --local as ``local``; place it above `cluster_options`, which it excludes."""

    @wraps(function)
    def with_local(*args: Any, local: bool, **kwargs: Any) -> Any:
        if local:
            _refuse_cluster_options(click.get_current_context())
        return function(*args, local=local, **kwargs)

    return click.option(
        "--local", is_flag=True, help="Use the mirror on this machine, not one in a cluster."
    )(with_local)  # type: ignore[return-value]


def _refuse_cluster_options(context: click.Context) -> None:
    flags = {
        "kubeconfig": "--kubeconfig",
        "context": "--context",
        "namespace": "--mirror-namespace",
    }
    given = [
        flag
        for name, flag in flags.items()
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise InputError(
            f"{', '.join(given)} cannot be used with --local",
            why="the mirror on this machine is in no cluster",
            next_step="omit it, or omit --local",
        )


def dry_run_option(function: F) -> F:
    """Add --dry-run as ``dry_run``."""
    return click.option(
        "--dry-run", is_flag=True, help="Show what would be written; write nothing."
    )(function)


def yes_option(function: F) -> F:
    """Add -y/--yes as ``yes``."""
    return click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")(function)


def check_can_ask(subject: str, *, yes: bool) -> None:
    """Raise InputError if a confirmation is needed and standard input is not a terminal."""
    if not yes and not (sys.stdin and sys.stdin.isatty()):
        raise InputError(
            f"{subject}, and nobody can confirm it",
            why="standard input is not a terminal",
            next_step=f"look at the plan: {_command_line('--dry-run')}; "
            f"then: {_command_line('--yes')}",
        )


def _command_line(*more: str) -> str:
    """Return the command that runs, as it was typed, with ``more`` options."""
    context = click.get_current_context(silent=True)
    typed = context.meta.get(TYPED, ()) if context else ()
    return shlex.join([*typed, *more])


def given_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given: those that are not None."""
    return {key: value for key, value in options.items() if value is not None}


def read_ca_option(path: Path | None) -> str | None:
    """Return the PEM text of --ca-bundle, or None. Raises InputError for an unusable file."""
    if path is None:
        return None
    from images.build_mirror import read_ca_bundle

    return read_ca_bundle(path)


def _if_given(check: Callable[[Any], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    return lambda _context, _parameter, value: None if value is None else check(value)
