"""Causes to be planted in a lab, as a user could make them, and the doctor who has to name them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.cluster.mirror_lab import MirrorLab


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What `mirror doctor -o json` said, its exit code, and how long it took (seconds)."""

    code: int
    report: Mapping[str, Any]
    seconds: float

    @property
    def findings_by_check(self) -> dict[str, list[dict[str, Any]]]:
        """check → its findings."""
        by_check: dict[str, list[dict[str, Any]]] = {}
        for one in self.report["findings"]:
            by_check.setdefault(one["check"], []).append(one)
        return by_check

    def assert_finding(
        self, check: str, *words: str, fix_command: str, nodes: tuple[str, ...] = ()
    ) -> None:
        """One finding of this check has all these words, this mending command, and these nodes."""
        told = self.findings_by_check.get(check, [])
        for one in told:
            text = json.dumps(one, ensure_ascii=False)
            commands = [each["command"] for each in one["mends"]]
            if all(word in text for word in words) and any(
                fix_command in each for each in commands
            ):
                if nodes:
                    assert set(one["nodes"]) == set(nodes), one
                return
        named = sorted(self.findings_by_check)
        raise AssertionError(f"no {check} with {words} and {fix_command!r} among {named}: {told}")

    def get_outcome(self, check: str) -> str:
        (one,) = [one for one in self.report["results"] if one["check"] == check]
        return str(one["outcome"])

    def get_gaps(self, check: str) -> str:
        (one,) = [one for one in self.report["results"] if one["check"] == check]
        return "\n".join(one["gaps"])


def diagnose(place: MirrorLab, *words: str, env: Mapping[str, str] | None = None) -> Diagnosis:
    """Run the doctor as a user does."""
    begun = time.monotonic()
    argv = ("mirror", "doctor", "-o", "json", "--name", "index.example", "--timeout", "120", *words)
    done = place.program(*argv, env=env or place.env, timeout=200)
    seconds = time.monotonic() - begun
    assert done.returncode in {0, 1}, done.stderr
    return Diagnosis(code=done.returncode, report=json.loads(done.stdout), seconds=seconds)


def build_deployment(
    name: str, namespace: str, image: str, command: list[str], **container: Any
) -> dict[str, Any]:
    """A workload of one pod."""
    labels = {"app": name}
    main = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "command": command,
        **container,
    }
    pod = {"terminationGracePeriodSeconds": 0, "containers": [main]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


@contextmanager
def temporary_namespace(place: MirrorLab, name: str, *objects: Any) -> Iterator[str]:
    """A namespace with objects, gone afterwards."""
    place.lab.kubectl("create", "namespace", name)
    try:
        if objects:
            listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
            place.lab.kubectl("apply", "-f", "-", stdin=json.dumps(listed))
        yield name
    finally:
        place.lab.kubectl(
            "delete", "namespace", name, "--wait=true", "--timeout=60s", timeout=90, check=False
        )


@contextmanager
def patched_object(
    place: MirrorLab, kind: str, name: str, where: str, patch: Any
) -> Iterator[None]:
    """An object patched for the length of a block, and then replaced by what it was."""
    before = place.get(kind, name, where)
    patching = ("patch", kind, name, "-n", where, "--type=merge", "-p", json.dumps(patch))
    place.lab.kubectl(*patching)
    try:
        yield
    finally:
        for key in ("resourceVersion", "uid", "creationTimestamp", "generation"):
            before["metadata"].pop(key, None)
        before.pop("status", None)
        place.lab.kubectl("replace", "-f", "-", stdin=json.dumps(before))


def is_node_ready(place: MirrorLab, node: str) -> bool:
    """Whether the control plane calls a node Ready."""
    told = json.loads(place.lab.kubectl("get", "node", node, "-o", "json"))["status"]
    return any(one["type"] == "Ready" and one["status"] == "True" for one in told["conditions"])


def have_pods_reached(place: MirrorLab, where: str, wanted: Mapping[str, str]) -> bool:
    """Whether each workload's pod has come as far: ready, failed (once), waiting (for a map)."""
    pods = json.loads(place.lab.kubectl("get", "pods", "-n", where, "-o", "json"))["items"]
    seen: set[tuple[str, str]] = set()
    for pod in pods:
        for state in pod["status"].get("containerStatuses", ()):
            waits = state["state"].get("waiting", {}).get("reason")
            come = {
                "ready": state["ready"],
                "failed": state["restartCount"] > 0,
                "waiting": waits == "CreateContainerConfigError",
            }
            seen |= {(pod["metadata"]["labels"]["app"], far) for far, so in come.items() if so}
    return set(wanted.items()) <= seen
