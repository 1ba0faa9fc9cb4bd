"""Import on each node: `docker save` into the standard input of a command of the user's.

For instance --import-command 'ssh {address} sudo ctr -n k8s.io images import -'.
"""

from __future__ import annotations

import shlex
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from deploy.cluster.client import Cluster, Object
from deploy.delivery import Delivered, Options, full_reference, node_has
from images.build import Image
from images.engine import Engine
from mirror.core.errors import DeliveryError, InputError, ProgramError
from mirror.core.process import run
from mirror.core.progress import Progress
from mirror.core.wait import Deadline

_AT_ONCE = 4  # nodes that are written to side by side
_EXAMPLE = "--import-command 'ssh {address} sudo ctr -n k8s.io images import -'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """Every node that is Ready gets the image; one that has it already is left alone."""

    name: str = "nodes"
    order: int = 10
    how: str = f"give a command that imports a tar, with {{node}} and {{address}}: {_EXAMPLE}"

    def usable(
        self,
        cluster: Cluster,  # noqa: ARG002 - other ways look into it
        options: Options,
    ) -> str | None:
        return None if options.import_command else "no --import-command was given"

    def deliver(
        self,
        image: Image,
        engine: Engine,
        cluster: Cluster,
        options: Options,
        progress: Progress,
    ) -> Delivered:
        """Raises DeliveryError that names each node that failed and why."""
        reference = full_reference(image.reference)
        nodes = cluster.list("Node")
        for node in nodes:
            if not _ready(node):
                progress.note(f"{_name(node)} is NotReady: the image is not brought there")
        targets = [node for node in nodes if _ready(node) and not node_has(node, reference)]
        argvs = {_name(node): argv_for(options.import_command or "", node) for node in targets}
        _check_apart(argvs)
        if argvs:
            with tempfile.NamedTemporaryFile(prefix="image-", suffix=".tar") as tar:
                progress.step(f"save {image.reference}")
                engine.save(image.reference, tar.file)
                tar.flush()
                progress.step(f"import {image.reference} on {len(argvs)} nodes")
                _import(Path(tar.name), argvs, progress, cluster.deadline)
        return Delivered(reference=reference, way=self.name, nodes=tuple(argvs))


def argv_for(template: str, node: Object) -> tuple[str, ...]:
    """The template's words with the node's name and address put in; no shell ever reads them.

    Raises InputError where the template is not a command.
    """
    try:
        words = shlex.split(template)
    except ValueError as broken:
        raise _bad_template(template, str(broken)) from broken
    if not words:
        raise _bad_template(template, "it is empty")
    addresses = {one["type"]: one["address"] for one in node["status"].get("addresses", [])}
    address = addresses.get("InternalIP") or addresses.get("ExternalIP") or _name(node)
    values = {"{node}": _name(node), "{address}": address}
    return tuple(_filled(word, values) for word in words)


def _filled(word: str, values: dict[str, str]) -> str:
    for field, value in values.items():
        word = word.replace(field, value)
    return word


def _check_apart(argvs: dict[str, tuple[str, ...]]) -> None:
    """Two nodes with the same command would mean that one of them gets nothing."""
    if len(set(argvs.values())) < len(argvs):
        raise _bad_template(
            " ".join(next(iter(argvs.values()))), "it is the same for several nodes"
        )


def _bad_template(template: str, why: str) -> InputError:
    return InputError(
        f"not a usable --import-command: {template!r}",
        why=why,
        next_step=f"name the node with {{node}} or {{address}}: {_EXAMPLE}",
    )


def _import(
    tar: Path, argvs: dict[str, tuple[str, ...]], progress: Progress, deadline: Deadline
) -> None:
    def one(argv: tuple[str, ...]) -> str | None:
        try:
            with tar.open("rb") as file:
                run(argv, deadline=deadline, input=file)
        except ProgramError as broken:
            return str(broken)
        return None

    failed = {}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for number, (node, why) in enumerate(
            zip(argvs, pool.map(one, argvs.values()), strict=True), start=1
        ):
            progress.count(number, len(argvs), node)
            if why:
                failed[node] = why
    if failed:
        raise DeliveryError(
            f"the image was not imported on {', '.join(failed)}"
            + (f"; {len(argvs) - len(failed)} of {len(argvs)} nodes have it" if argvs else ""),
            why="\n".join(f"{node}: {why}" for node, why in failed.items()),
            next_step="run the command by hand on one of them, mend it, and run again: "
            "nodes that have the image are left alone",
        )


def _ready(node: Object) -> bool:
    states = {one["type"]: one["status"] for one in node["status"].get("conditions", [])}
    return states.get("Ready") == "True"


def _name(node: Object) -> str:
    return str(node["metadata"]["name"])


DELIVERY = Nodes()
