"""The agent's queued messages, as the kubelet reports them: with the pod's own readiness probe."""

from __future__ import annotations

import subprocess
from pathlib import Path

from deploy.manifests.agent import build_readiness_command, render_agent_daemon_set
from mirror.agent.events import EVENT_QUEUE, queue_event


def run_probe(queue: Path) -> tuple[int, str]:
    command = build_readiness_command(str(queue))
    done = subprocess.run(command, capture_output=True, timeout=10, check=False)
    return done.returncode, (done.stdout + done.stderr).decode()


def test_a_failing_probe_reports_each_message_once(tmp_path: Path) -> None:
    queue = tmp_path / "news"
    assert run_probe(queue) == (0, "")
    queue_event("one", queue)
    queue_event("two", queue)
    assert run_probe(queue) == (1, "one\ntwo\n")
    assert run_probe(queue) == (0, "")
    queue_event("three", queue)
    assert run_probe(queue) == (1, "three\n")
    assert run_probe(queue) == (0, "")


def test_queued_messages_fit_into_an_event(tmp_path: Path) -> None:
    queue = tmp_path / "news"
    for number in range(50):
        queue_event(f"{number} " + "x" * 200, queue)
    _, output = run_probe(queue)
    assert output.startswith("0 xxx")
    assert output.endswith("pod's log)\n")
    assert len(output) + len("Readiness probe failed: ") < 1024


def test_queues_nothing_without_the_volume(tmp_path: Path) -> None:
    queue_event("one", tmp_path / "missing/news")
    assert list(tmp_path.iterdir()) == []


def test_the_pod_mounts_the_queue_and_stays_ready_after_one_failure() -> None:
    spec = render_agent_daemon_set("mirror:1", microk8s=False)["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    probe = container["readinessProbe"]
    assert probe["exec"]["command"] == build_readiness_command(str(EVENT_QUEUE))
    assert probe.get("failureThreshold", 3) > 1
    assert {"name": "told", "mountPath": str(EVENT_QUEUE.parent)} in container["volumeMounts"]
