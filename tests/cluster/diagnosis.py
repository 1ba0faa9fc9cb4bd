"""Run `mirror doctor` in a lab, and plant faults for it to find."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.lab import Lab
from tests.cluster.objects import has_condition
from tests.conftest import RunProgram

PROBED_NAME = ("--name", "index.example")


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The report of `mirror doctor -o json`, its exit code, and its duration in seconds."""

    code: int
    report: Mapping[str, Any]
    seconds: float

    @property
    def findings_by_check(self) -> dict[str, list[dict[str, Any]]]:
        by_check: dict[str, list[dict[str, Any]]] = {}
        for finding in self.report["findings"]:
            by_check.setdefault(finding["check"], []).append(finding)
        return by_check

    def get_finding(self, check: str) -> dict[str, Any]:
        """Return the only finding of a check."""
        (finding,) = self.findings_by_check[check]
        return finding

    def assert_finding(
        self, check: str, *texts: str, fix_command: str, nodes: tuple[str, ...] = ()
    ) -> None:
        """Check that one finding of this check has all texts, this fix command and these nodes."""
        findings = self.findings_by_check.get(check, [])
        for finding in findings:
            content = json.dumps(finding, ensure_ascii=False)
            commands = [remedy["command"] for remedy in finding["mends"]]
            if all(text in content for text in texts) and any(
                fix_command in command for command in commands
            ):
                if nodes:
                    assert set(finding["nodes"]) == set(nodes), finding
                return
        checks = sorted(self.findings_by_check)
        raise AssertionError(
            f"no {check} with {texts} and {fix_command!r} among {checks}: {findings}"
        )

    def get_outcome(self, check: str) -> str:
        """Return the outcome of a check: ok, found or skipped."""
        return str(self._get_result(check)["outcome"])

    def get_gaps(self, check: str) -> str:
        """Return what a check could not examine, one line per gap."""
        return "\n".join(self._get_result(check)["gaps"])

    def _get_result(self, check: str) -> Any:
        (result,) = [result for result in self.report["results"] if result["check"] == check]
        return result


def diagnose(
    program: RunProgram,
    kubeconfig: Path,
    *options: str,
    name: tuple[str, ...] = PROBED_NAME,
) -> Diagnosis:
    """Run `mirror doctor` as a user does. It probes the lab's index, unless name says otherwise."""
    started = time.monotonic()
    argv = ("mirror", "doctor", "-o", "json", *name, "--timeout", "120", *options)
    result = program(*argv, env={"KUBECONFIG": str(kubeconfig)}, timeout=200)
    seconds = time.monotonic() - started
    assert result.returncode in {0, 1}, result.stderr
    return Diagnosis(code=result.returncode, report=json.loads(result.stdout), seconds=seconds)


@contextmanager
def temporary_namespace(lab: Lab, name: str, *objects: Any) -> Iterator[str]:
    """Create a namespace with objects and delete it at the end of the block."""
    lab.kubectl("create", "namespace", name)
    try:
        if objects:
            lab.apply(*objects)
        yield name
    finally:
        delete = ("delete", "namespace", name, "--wait=true", "--timeout=60s")
        lab.kubectl(*delete, timeout=90, check=False)


@contextmanager
def patched_object(lab: Lab, kind: str, name: str, namespace: str, patch: Any) -> Iterator[None]:
    """Patch an object, and replace it with its previous state at the end of the block."""
    before = lab.get(kind, name, "-n", namespace)
    options = ("-n", namespace, "--type=merge", "-p", json.dumps(patch))
    lab.kubectl("patch", kind, name, *options)
    try:
        yield
    finally:
        remove_server_fields(before)
        lab.kubectl("replace", "-f", "-", stdin=json.dumps(before))


def remove_server_fields(obj: Any) -> None:
    """Remove the fields of an object that the API server sets."""
    for key in ("resourceVersion", "uid", "creationTimestamp", "generation"):
        obj["metadata"].pop(key, None)
    obj.pop("status", None)


def is_node_ready(lab: Lab, node: str) -> bool:
    return has_condition(lab.get("node", node), "Ready")


def have_pods_reached(lab: Lab, namespace: str, expected: Mapping[str, str]) -> bool:
    """Whether a pod of each app has reached its expected state.

    expected maps the label app to ready, failed (restarted at least once) or waiting (for a
    missing ConfigMap).
    """
    reached: set[tuple[str, str]] = set()
    for pod in lab.get_items("pods", "-n", namespace):
        for status in pod["status"].get("containerStatuses", ()):
            reason = status["state"].get("waiting", {}).get("reason")
            states = {
                "ready": status["ready"],
                "failed": status["restartCount"] > 0,
                "waiting": reason == "CreateContainerConfigError",
            }
            app = pod["metadata"]["labels"]["app"]
            reached |= {(app, state) for state, is_reached in states.items() if is_reached}
    return set(expected.items()) <= reached
