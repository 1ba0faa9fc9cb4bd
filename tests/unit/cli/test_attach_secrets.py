"""A canary through the commands that see a workload: no output and no object of ours has it."""

from __future__ import annotations

import json
from typing import Any

from deploy.changes.ledger import Ledger
from tests.unit.cli.memory_lab import CommandLab, make_deployment

CANARY = "c4n4ry-v4lue"
TARGET = ("deployment/web", "-n", "shop")


def make_secret_deployment() -> Any:
    deployment = make_deployment("web")
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": CANARY}
    deployment["metadata"]["annotations"] = annotations
    template = deployment["spec"]["template"]
    template["metadata"]["annotations"] = annotations
    template["spec"]["containers"][0] |= {
        "env": [
            {"name": "SETTINGS", "value": CANARY},
            {"name": "DB", "value": f"x://u:{CANARY}@db"},
        ],
        "args": ["--token", CANARY, f"--password={CANARY}"],
        "command": ["sh", "-c", f"API_KEY={CANARY} exec serve"],
    }
    return deployment


def test_no_command_shows_or_stores_a_secret_of_a_workload(lab: CommandLab) -> None:
    lab.install()
    lab.api.seed(make_secret_deployment())
    before = lab.api.read("Deployment", "web", "shop")["spec"]
    said = []
    for words in (
        ("attach", *TARGET, "--ndots", "--dry-run"),
        ("attach", *TARGET, "--ndots", "--dry-run", "-o", "json"),
        ("attach", *TARGET, "--ndots", "--yes", "-o", "json"),
        ("list", "--workloads", "-o", "json"),
        ("fix", "-o", "json"),
        ("detach", *TARGET, "--dry-run"),
    ):
        result = lab.run(*words)
        assert result.code == 0, result.err
        said.append(result.out + result.err)
    assert "pypi-mirror-env" in said[0]
    stored = {k: obj for k, obj in lab.api.dump().items() if not k.startswith("Deployment")}
    assert CANARY not in json.dumps(stored)
    (entry,) = Ledger(lab.cluster).read_all()
    assert CANARY not in repr(entry), "its contents are in base64"

    def edit(obj: Any) -> None:
        obj["spec"]["template"]["spec"]["containers"][0]["envFrom"][0]["prefix"] = "X_"

    saved = lab.api.read("Deployment", "web", "shop")["spec"]
    lab.api.edit("Deployment", "web", "shop", edit)
    refused = lab.run("detach", *TARGET, "--yes")
    assert refused.code == 5
    assert "containers.app.envFrom" in refused.err
    said.append(refused.out + refused.err)
    lab.api.edit("Deployment", "web", "shop", lambda obj: obj.update(spec=saved))
    result = lab.run("detach", *TARGET, "--yes", "-o", "json")
    said.append(result.out + result.err)
    assert CANARY not in "".join(said)
    assert lab.api.read("Deployment", "web", "shop")["spec"] == before
