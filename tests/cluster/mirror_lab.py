"""The mirror as a user of the lab has it: by the console script, with the image on the nodes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.cluster.node_images import has_image
from tests.cluster.lab import Lab
from tests.cluster.waiting import wait_for
from tests.conftest import RunProgram

NAMESPACE = "pypi-mirror"


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorLab:
    """One lab, the program, and the image that is on its nodes."""

    lab: Lab
    program: RunProgram
    image: str
    ca_bundle: Path

    @property
    def env(self) -> Mapping[str, str]:
        return {"KUBECONFIG": str(self.lab.kubeconfig)}

    def run_mirror(self, *words: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return self.program("mirror", *words, env=self.env, timeout=timeout)

    def up(self, *words: str) -> dict[str, Any]:
        """`mirror up` with the image at hand; what it told."""
        given = ("--image", self.image, "--ca-bundle", str(self.ca_bundle), "-o", "json")
        done = self.run_mirror("up", *given, *words)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert isinstance(told, dict)
        return told

    def wait_until_image_reported(self) -> None:
        wait_until_image_reported(self.lab, self.image)

    def get(self, kind: str, name: str, namespace: str = NAMESPACE) -> dict[str, Any]:
        told = self.lab.kubectl("get", kind, name, "-n", namespace, "-o", "json")
        found = json.loads(told)
        assert isinstance(found, dict)
        return found

    def read_resource_versions(self) -> dict[str, str]:
        """Every object of the mirror's with its resourceVersion."""
        kinds = "secret,configmap,service,statefulset,networkpolicy,persistentvolumeclaim,pod"
        told = self.lab.kubectl("get", kinds, "-n", NAMESPACE, "-o", "json")
        items = json.loads(told)["items"] + [self.get("namespace", NAMESPACE)]
        return {
            f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["resourceVersion"]
            for one in items
        }

    def run_pods(self, pods: list[dict[str, Any]], seconds: float) -> dict[str, tuple[str, str]]:
        """Run pods to their ends; name → (phase, log). They are removed."""
        listed = {"apiVersion": "v1", "kind": "List", "items": pods}
        names = [pod["metadata"]["name"] for pod in pods]
        namespace = pods[0]["metadata"]["namespace"]
        self.lab.kubectl("apply", "-f", "-", stdin=json.dumps(listed))
        try:

            def ended() -> dict[str, str] | None:
                told = self.lab.kubectl("get", "pod", "-n", namespace, "-o", "json", *names)
                found = json.loads(told)
                phases = {
                    one["metadata"]["name"]: one["status"]["phase"]
                    for one in found.get("items", [found])
                }
                return phases if set(phases.values()) <= {"Succeeded", "Failed"} else None

            phases = wait_for(f"the end of {', '.join(names)}", ended, timeout=seconds, interval=1)
            return {
                name: (phases[name], self.lab.kubectl("logs", "-n", namespace, name))
                for name in names
            }
        finally:
            self.lab.kubectl(
                "delete", "pod", "-n", namespace, "--wait=true", "--ignore-not-found", *names
            )


def wait_until_image_reported(lab: Lab, image: str) -> None:
    """Kubelets tell which images they have with a delay, and `mirror up` goes by it."""

    def reported() -> bool:
        nodes = json.loads(lab.kubectl("get", "nodes", "-o", "json"))["items"]
        return all(has_image(node, image) for node in nodes)

    wait_for("the nodes to report the image", reported, timeout=150, interval=1)
