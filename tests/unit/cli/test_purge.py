"""`mirror down --purge` and `mirror uninstall`: what is listed, asked, removed and left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.commands import down as down_module
from deploy.fix_registry import build_engine
from deploy.lifecycle import publish
from mirror.client import IndexClient
from mirror.core.errors import MirrorIndexError
from mirror.store.inventory import PrivateProject
from tests.unit.cli.memory_lab import CommandLab, apply_dns_fix, make_deployment
from tests.unit.cli.run_command import run_command

PRIVATE = (
    PrivateProject(name="acme-billing", files=("acme_billing-1.0-py3-none-any.whl",)),
    PrivateProject(name="acme-auth", files=()),
)
OURS = {"app.kubernetes.io/managed-by": "pypi-mirror"}
COREFILE = ".:53 {\n    errors\n    forward . 9.9.9.9\n    reload\n}\n"


@pytest.fixture
def private_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the mirror's index answer that it has private files."""
    monkeypatch.setattr(IndexClient, "is_alive", lambda *_: True)
    monkeypatch.setattr(IndexClient, "list_private_projects", lambda _: PRIVATE)


def test_a_purge_is_refused_where_nobody_can_confirm_it(lab: CommandLab) -> None:
    lab.install()
    before = lab.api.dump()
    result = lab.run("down", "--purge")
    assert result.code == 2
    assert "this deletes packages and secrets, and nobody can confirm it" in result.err
    next_step = result.get_line("next")
    assert "mirror down --purge --kubeconfig" in next_step
    assert next_step.endswith(" --yes")
    assert lab.api.dump() == before


def test_a_purge_lists_private_files_by_name_and_asks(lab: CommandLab, private_files: None) -> None:
    lab.install()
    before = lab.api.dump()
    result = lab.run("down", "--purge", typed="n\n")
    assert result.code == 130
    assert result.err.endswith("not confirmed: nothing more was changed\n")
    assert "  acme_billing-1.0-py3-none-any.whl\n" in result.out
    assert "private names that become public: acme-auth" in result.out
    assert "PersistentVolumeClaim/pypi-mirror-data" in result.out
    assert lab.api.dump() == before


def test_ctrl_c_at_the_question_is_an_interruption(
    lab: CommandLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("click.termui.visible_prompt_func", interrupt)
    lab.install()
    result = lab.run("down", "--purge", typed="")
    assert result.code == 130
    assert result.err.endswith("interrupted; run the same command again to continue\n")


def test_a_confirmed_purge_removes_the_mirror(lab: CommandLab) -> None:
    lab.install()
    result = lab.run("down", "--purge", typed="y\n")
    assert result.code == 0, result.err
    assert lab.list_ours() == []


def test_a_dry_run_of_a_purge_writes_nothing(lab: CommandLab, private_files: None) -> None:
    lab.install()
    before = lab.api.dump()
    result = lab.run("down", "--purge", "--dry-run", "-o", "json")
    assert result.code == 0, result.err
    document = json.loads(result.out)
    assert document["private"][0]["files"] == ["acme_billing-1.0-py3-none-any.whl"]
    assert "Secret/pypi-mirror" in document["objects"]
    assert lab.api.dump() == before


def test_a_purge_says_why_private_files_are_not_listed(lab: CommandLab) -> None:
    lab.install()
    result = lab.run("down", "--purge", "--dry-run")
    assert "private files cannot be listed:" in result.out


def test_a_purge_of_nothing_does_not_ask(lab: CommandLab) -> None:
    assert lab.run("down", "--purge").code == 0


def test_a_local_purge_lists_private_files_and_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATA", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    markers = tmp_path / "DATA/pypi-mirror/private"
    markers.mkdir(parents=True)
    (markers / "acme-auth").touch()
    refused = run_command(monkeypatch, "mirror", "down", "--local", "--purge")
    assert (refused.code, refused.get_line("next").split("; ")[1]) == (
        2,
        "then: mirror down --local --purge --yes",
    )
    monkeypatch.setattr(down_module, "list_private_projects", lambda _: PRIVATE)
    declined = run_command(monkeypatch, "mirror", "down", "--local", "--purge", typed="n\n")
    assert declined.code == 130
    assert "acme_billing-1.0-py3-none-any.whl" in declined.out
    assert (markers / "acme-auth").exists()
    preview = run_command(monkeypatch, "mirror", "down", "--local", "--purge", "--dry-run")
    assert preview.code == 0
    assert (markers / "acme-auth").exists()
    assert run_command(monkeypatch, "mirror", "down", "--local", "--purge", "--yes").code == 0
    assert not markers.exists()


# -- uninstall ------------------------------------------------------------------------------------


def change_everything(lab: CommandLab) -> None:
    """Attach a workload, publish in two namespaces, and apply a fix to CoreDNS."""
    corefile = {"metadata": {"name": "coredns", "namespace": "kube-system"}}
    lab.api.seed(
        {"apiVersion": "v1", "kind": "ConfigMap", **corefile, "data": {"Corefile": COREFILE}}
    )
    lab.attach("backend")
    publish.publish_environment(lab.cluster, "pypi-mirror", ["default"])
    apply_dns_fix(build_engine(lab.cluster))


def test_uninstall_undoes_everything_and_leaves_nothing(lab: CommandLab) -> None:
    lab.install()
    change_everything(lab)
    spec = make_deployment("backend")["spec"]["template"]["spec"]
    assert lab.api.read("Deployment", "backend", "shop")["spec"]["template"]["spec"] != spec
    result = lab.run("uninstall", "--yes")
    assert result.code == 0, result.err
    assert lab.list_ours() == []
    assert lab.api.read("ConfigMap", "coredns", "kube-system")["data"]["Corefile"] == COREFILE
    restored = lab.api.read("Deployment", "backend", "shop")["spec"]["template"]["spec"]
    assert restored["containers"][0].get("envFrom") is None
    assert "dnsConfig" not in restored
    assert "nothing of the mirror is left in the cluster" in result.out


def test_uninstall_works_in_the_documented_order(lab: CommandLab) -> None:
    lab.install()
    change_everything(lab)
    installed = make_deployment("pypi-mirror-keeper", "kube-system")
    installed["metadata"]["labels"] = OURS | {"app.kubernetes.io/component": "keeper"}
    lab.api.seed(installed)
    start = len(lab.api.list_writes())
    assert lab.run("uninstall", "--yes").code == 0
    writes = lab.api.list_writes()[start:]
    parts = (
        *("configmaps/coredns", "deployments/pypi-mirror-keeper", "deployments/backend"),
        *("pypi-mirror-env", "secrets/pypi-mirror"),
    )
    positions = [next(n for n, line in enumerate(writes) if part in line) for part in parts]
    assert positions == sorted(positions)


def test_uninstall_lists_asks_and_previews(lab: CommandLab, private_files: None) -> None:
    lab.install()
    change_everything(lab)
    before = lab.api.dump()
    refused = lab.run("uninstall")
    assert refused.code == 2
    assert refused.get_line("next").endswith(" --yes")
    declined = lab.run("uninstall", typed="n\n")
    assert declined.code == 130
    for text in ("acme_billing-1.0-py3-none-any.whl", "coredns", "backend", "default"):
        assert text in declined.out
    assert lab.run("uninstall", "--dry-run").code == 0
    assert lab.api.dump() == before


def test_uninstall_removes_what_no_record_names(lab: CommandLab) -> None:
    """A ConfigMap whose record was lost, and what an older version may have left."""
    lab.install()
    publish.publish_environment(lab.cluster, "pypi-mirror", ["shop"])
    lab.cluster.delete("ConfigMap", "pypi-mirror-record", "pypi-mirror")
    stray = {"name": "pypi-mirror-old", "namespace": "kube-system", "labels": OURS}
    lab.api.seed({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": stray})
    result = lab.run("uninstall", "--yes")
    assert result.code == 0, result.err
    assert "ServiceAccount kube-system/pypi-mirror-old" in result.out
    assert lab.list_ours() == []


def test_uninstall_leaves_alone_what_only_the_label_calls_ours(lab: CommandLab) -> None:
    """Whoever may edit a namespace can label objects there, and make a ConfigMap of that name."""
    lab.install()
    publish.publish_environment(lab.cluster, "pypi-mirror", ["shop"])
    theirs = {"namespace": "default", "labels": OURS}
    for kind, api, name in (
        ("ConfigMap", "v1", "pypi-mirror-env"),
        ("Secret", "v1", "theirs"),
        ("ServiceAccount", "v1", "theirs"),
    ):
        lab.api.seed({"apiVersion": api, "kind": kind, "metadata": {**theirs, "name": name}})
    preview = lab.run("uninstall", "--dry-run")
    said = "left alone: ConfigMap default/pypi-mirror-env has the mirror's label"
    assert said in preview.out
    assert "remove       ConfigMap default" not in preview.out
    result = lab.run("uninstall", "--yes")
    assert result.code == 0, result.err
    assert said in result.out
    assert "kubectl -n default delete configmap pypi-mirror-env" in result.out
    assert not lab.api.has("ConfigMap", "pypi-mirror-env", "shop")
    for kind, name in (
        ("ConfigMap", "pypi-mirror-env"),
        ("Secret", "theirs"),
        ("ServiceAccount", "theirs"),
    ):
        assert lab.api.has(kind, name, "default")
    again = lab.run("uninstall")
    assert again.code == 0, again.err
    assert said in again.out
    shown = json.loads(lab.run("uninstall", "-o", "json", "--dry-run").out)
    assert [each["name"] for each in shown["unproven"]] == ["theirs", "pypi-mirror-env", "theirs"]
    assert shown["others"] == []


def test_uninstall_fails_if_something_is_left(lab: CommandLab) -> None:
    lab.install()
    publish.publish_environment(lab.cluster, "pypi-mirror", ["shop"])
    held = {"finalizers": ["example.com/held"]}
    lab.api.edit("ConfigMap", "pypi-mirror-env", "shop", lambda obj: obj["metadata"].update(held))
    result = lab.run("uninstall", "--yes", "--timeout", "2")
    assert result.code == 1
    assert result.get_line("why") == "ConfigMap shop/pypi-mirror-env"
    assert result.get_line("next") == "kubectl -n shop delete configmap pypi-mirror-env"


def test_uninstall_keeps_another_mirror(lab: CommandLab) -> None:
    lab.install()
    lab.install("tools", "10.152.183.51")
    tools = [name for name in lab.list_ours() if "tools" in name]
    result = lab.run("uninstall", "--yes")
    assert result.code == 0, result.err
    assert lab.list_ours() == tools
    assert "another mirror stays: mirror uninstall --mirror-namespace tools" in result.out


def test_uninstall_of_nothing_says_so(lab: CommandLab) -> None:
    result = lab.run("uninstall")
    assert result.code == 0
    assert "nothing of the mirror is in memory" in result.out


def test_errors_of_the_index_do_not_stop_a_purge(
    lab: CommandLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: IndexClient) -> tuple[PrivateProject, ...]:
        raise MirrorIndexError("the mirror refused GET /workloads/stable (500)")

    monkeypatch.setattr(IndexClient, "is_alive", lambda *_: True)
    monkeypatch.setattr(IndexClient, "list_private_projects", fail)
    lab.install()
    result = lab.run("down", "--purge", "--yes")
    assert result.code == 0
    assert "private files cannot be listed: the mirror refused" in result.out
