"""`mirror list --workloads` and `mirror detach -A`: workloads of every namespace."""

from __future__ import annotations

import json

from tests.unit.cli.memory_lab import CommandLab


def test_lists_the_attached_workloads(lab: CommandLab) -> None:
    lab.install()
    lab.attach("backend")
    lab.attach("worker", "default")
    listed = json.loads(lab.run("list", "--workloads", "-A", "-o", "json").out)
    assert {(item["namespace"], item["name"]) for item in listed} == {
        ("shop", "backend"),
        ("default", "worker"),
    }
    assert lab.run("list", "--workloads", "-n", "shop", "-o", "name").out == "deployment/backend\n"
    table = lab.run("list", "--workloads").out.splitlines()
    assert table[0].split() == ["namespace", "kind", "name"]
    assert len(table) == 3


def test_detaches_in_every_namespace(lab: CommandLab) -> None:
    lab.install()
    lab.attach("backend")
    lab.attach("worker", "default")
    before = lab.api.dump()
    assert lab.run("detach", "-A", "--dry-run").code == 0
    assert lab.api.dump() == before
    assert lab.run("detach", "-A", "--yes").code == 0
    for name, namespace in (("backend", "shop"), ("worker", "default")):
        spec = lab.api.read("Deployment", name, namespace)["spec"]["template"]["spec"]
        assert "envFrom" not in spec["containers"][0]
    assert lab.run("list", "--workloads", "-o", "name").out == ""
