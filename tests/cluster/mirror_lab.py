"""The mirror as a user of the lab runs it: by the `mirror` command, with the image on the nodes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.cluster.node_images import has_image
from tests.cluster.diagnosis import Diagnosis, diagnose
from tests.cluster.lab import Lab
from tests.cluster.waiting import wait_for
from tests.conftest import RunProgram

NAMESPACE = "pypi-mirror"


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorLab:
    """A lab, the `mirror` command, and the mirror's image, which is on the lab's nodes."""

    lab: Lab
    program: RunProgram
    image: str
    ca_bundle: Path

    @property
    def env(self) -> Mapping[str, str]:
        return {"KUBECONFIG": str(self.lab.kubeconfig)}

    def run_mirror(self, *argv: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run `mirror` and return its exit code and output."""
        return self.program("mirror", *argv, env=self.env, timeout=timeout)

    def run_json(self, *argv: str, code: int | None = 0, timeout: float = 300) -> Any:
        """Run `mirror … -o json` and return the decoded output.

        Checks the exit code, unless code is None.
        """
        result = self.run_mirror(*argv, "-o", "json", timeout=timeout)
        assert code in (None, result.returncode), result.stdout + result.stderr
        return json.loads(result.stdout)

    def up(self, *options: str) -> dict[str, Any]:
        """Run `mirror up` with the image on the nodes and return its report."""
        image = ("--image", self.image, "--ca-bundle", str(self.ca_bundle))
        report = self.run_json("up", *image, *options)
        assert isinstance(report, dict)
        return report

    def expect_up_to_fail(
        self, *options: str, code: int, messages: tuple[str, ...], timeout: float = 300
    ) -> None:
        """Run `mirror up` and check its exit code, and that its error has a next step."""
        result = self.run_mirror("up", *options, timeout=timeout)
        assert result.returncode == code, result.stderr
        for message in messages:
            assert message in result.stderr, result.stderr
        assert "next:" in result.stderr
        assert "Traceback" not in result.stderr

    def diagnose(self, *options: str) -> Diagnosis:
        """Run `mirror doctor` and return its report."""
        return diagnose(self.program, self.lab.kubeconfig, *options)

    def wait_until_image_reported(self) -> None:
        """Wait until all nodes report the mirror's image in their status."""
        wait_until_image_reported(self.lab, self.image)

    def get(self, kind: str, name: str, namespace: str = NAMESPACE) -> dict[str, Any]:
        """Return an object."""
        obj = self.lab.get(kind, name, "-n", namespace)
        assert isinstance(obj, dict)
        return obj

    def count_restarts(self) -> list[int]:
        """Return the restart count of each container of the mirror's pod."""
        status = self.get("pod", "pypi-mirror-0")["status"]
        return [container["restartCount"] for container in status.get("containerStatuses", [])]

    def read_resource_versions(self) -> dict[str, str]:
        """Return the resourceVersion of every object of the mirror, by KIND/NAME."""
        kinds = "secret,configmap,service,statefulset,networkpolicy,persistentvolumeclaim,pod"
        objects = [*self.lab.get_items(kinds, "-n", NAMESPACE), self.get("namespace", NAMESPACE)]
        return {
            f"{obj['kind']}/{obj['metadata']['name']}": obj["metadata"]["resourceVersion"]
            for obj in objects
        }

    def run_pods(self, pods: list[dict[str, Any]], seconds: float) -> dict[str, tuple[str, str]]:
        """Run pods until they end and remove them; return name → (phase, log)."""
        names = [pod["metadata"]["name"] for pod in pods]
        namespace = pods[0]["metadata"]["namespace"]
        self.lab.apply(*pods)
        try:

            def read_final_phases() -> dict[str, str] | None:
                result = self.lab.get("pod", "-n", namespace, *names)
                phases = {
                    pod["metadata"]["name"]: pod["status"]["phase"]
                    for pod in result.get("items", [result])
                }
                return phases if set(phases.values()) <= {"Succeeded", "Failed"} else None

            condition = f"{', '.join(names)} to end"
            phases = wait_for(condition, read_final_phases, timeout=seconds, interval=1)
            return {
                name: (phases[name], self.lab.kubectl("logs", "-n", namespace, name))
                for name in names
            }
        finally:
            self.lab.kubectl(
                "delete", "pod", "-n", namespace, "--wait=true", "--ignore-not-found", *names
            )


def wait_until_image_reported(lab: Lab, image: str) -> None:
    """Wait until all nodes report the image in their status.

    Kubelets report their images with a delay, and `mirror up` relies on these reports.
    """
    wait_for(
        "the nodes to report the image",
        lambda: all(has_image(node, image) for node in lab.get_items("nodes")),
        timeout=150,
        interval=1,
    )
