"""Bring a tar of an image to nodes by commands that read it from standard input."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from deploy.cluster.client import Cluster, Object
from deploy.cluster.node_images import has_image
from deploy.cluster.objects import get_name, is_ready
from images.engine import EngineClient
from images.shared_build import BuiltImage
from mirror.core.errors import DeliveryError, ProgramError
from mirror.core.process import run
from mirror.core.progress import Progress
from mirror.core.wait import Deadline

_PARALLEL_NODES = 4


@contextmanager
def temporary_tar(image: BuiltImage, engine: EngineClient, progress: Progress) -> Iterator[Path]:
    """Save the image to a tar, in the format of `docker save`, that exists during the block."""
    with tempfile.NamedTemporaryFile(prefix="image-", suffix=".tar") as tar:
        progress.step(f"save {image.reference}")
        engine.save(image.reference, tar.file)
        tar.flush()
        yield Path(tar.name)


def list_target_nodes(cluster: Cluster, reference: str, progress: Progress) -> list[Object]:
    """The Ready nodes that are not known to have the image; notes the nodes that are NotReady."""
    nodes = cluster.list("Node")
    for node in nodes:
        if not is_ready(node):
            progress.note(f"{get_name(node)} is NotReady: the image is not brought there")
    return [node for node in nodes if is_ready(node) and not has_image(node, reference)]


def import_on_nodes(
    tar: Path, commands: Mapping[str, tuple[str, ...]], progress: Progress, deadline: Deadline
) -> None:
    """Run each node's command with the tar on its standard input, a few in parallel.

    Raises DeliveryError that names each node that failed and why.
    """

    def run_command(command: tuple[str, ...]) -> str | None:
        """Why the command failed; None if it did not."""
        try:
            with tar.open("rb") as file:
                run(command, deadline=deadline, input=file)
        except ProgramError as error:
            return str(error)
        return None

    failures = {}
    with ThreadPoolExecutor(_PARALLEL_NODES) as pool:
        results = zip(commands, pool.map(run_command, commands.values()), strict=True)
        for number, (node, failure) in enumerate(results, start=1):
            progress.count(number, len(commands), node)
            if failure:
                failures[node] = failure
    if failures:
        raise DeliveryError(
            f"the image was not imported on {', '.join(failures)}"
            f"; {len(commands) - len(failures)} of {len(commands)} nodes have it",
            why="\n".join(f"{node}: {failure}" for node, failure in failures.items()),
            next_step="run the command by hand on one of them, fix it, and run this again: "
            "nodes that have the image are skipped",
        )
