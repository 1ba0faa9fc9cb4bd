"""What the agent has to tell, as the kubelet fetches it: by the very words of the pod's probe."""

from __future__ import annotations

import subprocess
from pathlib import Path

from deploy.manifests.agent import build_readiness_command, render_agent_daemon_set
from mirror.agent.events import EVENT_QUEUE, queue_event


def run_probe(news: Path) -> tuple[int, str]:
    done = subprocess.run(
        build_readiness_command(str(news)), capture_output=True, timeout=10, check=False
    )
    return done.returncode, (done.stdout + done.stderr).decode()


def test_it_is_fetched_once_by_a_probe_that_fails_then(tmp_path: Path) -> None:
    news = tmp_path / "news"
    assert run_probe(news) == (0, "")
    queue_event("one", news)
    queue_event("two", news)
    assert run_probe(news) == (1, "one\ntwo\n")
    assert run_probe(news) == (0, "")
    queue_event("three", news)
    assert run_probe(news) == (1, "three\n")
    assert run_probe(news) == (0, "")


def test_it_fits_into_an_event(tmp_path: Path) -> None:
    news = tmp_path / "news"
    for number in range(50):
        queue_event(f"{number} " + "x" * 200, news)
    _, said = run_probe(news)
    assert said.startswith("0 xxx")
    assert said.endswith("pod's log)\n")
    assert len(said) + len("Readiness probe failed: ") < 1024


def test_without_the_folder_nothing_is_told(tmp_path: Path) -> None:
    queue_event("one", tmp_path / "missing/news")
    assert list(tmp_path.iterdir()) == []


def test_the_pod_has_the_folder_and_one_failure_is_not_unready() -> None:
    spec = render_agent_daemon_set("mirror:1", microk8s=False)["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    asked = container["readinessProbe"]
    assert asked["exec"]["command"] == build_readiness_command(str(EVENT_QUEUE))
    assert asked.get("failureThreshold", 3) > 1
    assert {"name": "told", "mountPath": str(EVENT_QUEUE.parent)} in container["volumeMounts"]
