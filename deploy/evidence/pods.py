"""Evidence about pods that several subjects share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from deploy.cluster.client import Object
from deploy.cluster.objects import get_name, get_waiting_reasons, is_ready


@dataclass(frozen=True, slots=True, kw_only=True)
class PodState:
    """A pod. ``trouble`` says why it is not Ready."""

    name: str
    node: str
    ready: bool
    trouble: str = ""


def read_pod_state(pod: Object) -> PodState:
    """Return the state of a pod, given its API object."""
    return PodState(
        name=get_name(pod),
        node=pod["spec"].get("nodeName", ""),
        ready=is_ready(pod),
        trouble=", ".join(get_waiting_reasons(pod).values())
        or pod.get("status", {}).get("reason", ""),
    )


def get_variable(env: Iterable[str], name: str) -> str | None:
    """Return the value of a variable in NAME=value strings; None if it is not there."""
    pairs = (variable.partition("=") for variable in env)
    return next((value for key, _, value in pairs if key == name), None)
