"""What `mirror attach` says about workloads in which the index would not be used."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from deploy.changes.attachment import AttachmentEditor, plan_attachments
from deploy.changes.model import ObjectSpec
from deploy.evidence.isolation import EgressRules, render_allow_command
from deploy.formats.network_policy import EgressPeer, list_denying
from deploy.repair.attach_notes import describe_workload
from mirror.merge import decode_spec, encode_spec

MIRROR = EgressPeer(
    namespace="pypi-mirror",
    namespace_labels={"kubernetes.io/metadata.name": "pypi-mirror"},
    pod_labels={"app.kubernetes.io/name": "pypi-mirror", "app.kubernetes.io/component": "index"},
    addresses=("10.152.183.50",),
    port=3141,
    port_name="index",
)
DENY: dict[str, Any] = {
    "metadata": {"name": "default-deny", "namespace": "shop"},
    "spec": {"podSelector": {}, "policyTypes": ["Egress"]},
}
TARGET = ObjectSpec(kind="Deployment", name="web", namespace="shop")


def new_workload(
    metadata: dict[str, Any] | None = None,
    env: dict[str, str] | None = None,
    spec: dict[str, Any] | None = None,
    **container: Any,
) -> dict[str, Any]:
    variables = [{"name": name, "value": value} for name, value in (env or {}).items()]
    pod = {"containers": [{"name": "main", "env": variables, **container}]}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": pod}
    return {"metadata": metadata or {}, "spec": {"template": template, **(spec or {})}}


def describe(
    obj: dict[str, Any], *policies: dict[str, Any], target: ObjectSpec = TARGET, index: bool = True
) -> list[str]:
    rules = EgressRules(policies={"shop": policies}, mirror=MIRROR)
    notes = describe_workload(target, obj, index=index, mirror_namespace="pypi-mirror", rules=rules)
    return [note.removeprefix(f"{target}: ") for note in notes]


def test_says_nothing_about_a_plain_workload() -> None:
    assert describe(new_workload()) == []


@pytest.mark.parametrize(
    ("env", "start"),
    [
        ({"PIP_INDEX_URL": "http://x.example"}, "sets PIP_INDEX_URL itself, which overrides"),
        ({"UV_INDEX_URL": "x", "UV_DEFAULT_INDEX": "x"}, "sets UV_INDEX_URL, UV_DEFAULT_INDEX its"),
        ({"PIP_EXTRA_INDEX_URL": "x"}, "sets PIP_EXTRA_INDEX_URL: packages may still come from"),
        ({"UV_INDEX": "a=http://x.example"}, "sets UV_INDEX: packages may still come from another"),
        ({"PIP_CONFIG_FILE": "/etc/pip.conf"}, "sets PIP_CONFIG_FILE: an index in that file"),
    ],
)
def test_names_variables_that_override_the_index(env: dict[str, str], start: str) -> None:
    (note,) = describe(new_workload(env=env))
    assert note.startswith(f"container main {start}")


def test_gives_the_value_that_excepts_the_mirror_from_a_proxy() -> None:
    env = {"HTTP_PROXY": "http://proxy.corp.example:3128", "NO_PROXY": "localhost,.svc"}
    assert describe(new_workload(env=env)) == [
        "container main sets HTTP_PROXY and asks that proxy for the mirror: add its address, "
        "NO_PROXY=localhost,.svc,10.152.183.50"
    ]


@pytest.mark.parametrize("value", ["10.152.183.50", "a, 10.152.183.50:3141", "10.152.0.0/16", "*"])
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_a_proxy_that_excepts_the_mirror_is_no_trouble(name: str, value: str) -> None:
    assert describe(new_workload(env={"http_proxy": "http://proxy.example", name: value})) == []


@pytest.mark.parametrize(
    "value", ["10.152.183.5", "10.152.183.50:80", "10.153.0.0/16", "not/acidr", ""]
)
def test_other_exceptions_do_not_help(value: str) -> None:
    env = {"ALL_PROXY": "http://proxy.example", "NO_PROXY": value}
    assert len(describe(new_workload(env=env))) == 1


def test_a_proxy_for_https_alone_is_not_asked_for_the_mirror() -> None:
    assert describe(new_workload(env={"HTTPS_PROXY": "http://proxy.example"})) == []


def test_says_that_a_prefix_hides_the_variables() -> None:
    source = {"prefix": "BUILD_", "configMapRef": {"name": "pypi-mirror-env"}}
    (note,) = describe(new_workload(envFrom=[source]))
    assert "with the prefix BUILD_, which no installer reads" in note


def test_a_prefixed_source_is_not_taken_for_the_attachment() -> None:
    source = {"prefix": "BUILD_", "configMapRef": {"name": "pypi-mirror-env"}}
    obj = new_workload(envFrom=[source])
    (change,) = plan_attachments([TARGET], index=True, ndots=False)
    after = AttachmentEditor().edit(change.edit, TARGET, encode_spec(obj["spec"]))
    assert after is not None
    assert decode_spec(after)["template"]["spec"]["containers"][0]["envFrom"] == [
        source,
        {"configMapRef": {"name": "pypi-mirror-env"}},
    ]


def test_says_that_pods_have_to_be_deleted_on_delete() -> None:
    (note,) = describe(new_workload(spec={"updateStrategy": {"type": "OnDelete"}}), index=False)
    assert note.startswith("its update strategy is OnDelete, so running pods keep")
    assert describe(new_workload(spec={"updateStrategy": {"type": "RollingUpdate"}})) == []


READ_ONLY: dict[str, Any] = {"securityContext": {"readOnlyRootFilesystem": True}}


@pytest.mark.parametrize("command", [["uv", "run", "app.py"], ["sh", "-c", "exec uvx ruff"]])
def test_says_that_uv_needs_a_writable_cache(command: list[str]) -> None:
    (note,) = describe(new_workload(command=command, **READ_ONLY))
    assert "mount an emptyDir and set UV_CACHE_DIR" in note


@pytest.mark.parametrize(
    "container",
    [
        {"command": ["uv", "run", "app.py"]},
        {"command": ["python", "survey.py"], **READ_ONLY},
        {"command": ["uv", "run"], "env": {"UV_CACHE_DIR": "/cache"}, **READ_ONLY},
        {
            "command": ["uv", "run"],
            "volumeMounts": [{"name": "cache", "mountPath": "/root/.cache/uv"}],
            **READ_ONLY,
        },
    ],
)
def test_a_cache_that_can_be_written_is_no_trouble(container: dict[str, Any]) -> None:
    assert describe(new_workload(**container)) == []


def test_a_read_only_mount_is_no_cache() -> None:
    mount = {"name": "cache", "mountPath": "/root/.cache/uv", "readOnly": True}
    obj = new_workload(command=["uv", "run"], volumeMounts=[mount], **READ_ONLY)
    assert len(describe(obj)) == 1


def test_names_who_reverts_the_change() -> None:
    metadata = {"labels": {"kustomize.toolkit.fluxcd.io/name": "shop"}}
    assert describe(new_workload(metadata), index=False) == [
        "Flux keeps it and puts its own version back"
    ]
    metadata = {"annotations": {"meta.helm.sh/release-name": "shop"}}
    assert describe(new_workload(metadata), index=False) == [
        "Helm manages it and may change it back (mirror status: drifted)"
    ]


def test_prints_the_policy_that_lets_pods_reach_the_mirror() -> None:
    (note,) = describe(new_workload(), DENY)
    assert note.startswith("NetworkPolicy default-deny of namespace shop keeps its pods from")
    command = note.partition("let them through: ")[2]
    assert command == render_allow_command("shop", "pypi-mirror", 3141)
    echo, text, *pipe = shlex.split(command)
    assert (echo, pipe) == ("echo", ["|", "kubectl", "apply", "-f", "-"])
    allowing = json.loads(text)
    assert list_denying([DENY, allowing], {"app": "web"}, MIRROR) == ()
    other = EgressPeer(
        namespace="pypi-mirror",
        namespace_labels=MIRROR.namespace_labels,
        pod_labels={"app": "other"},
        addresses=("10.1.1.1",),
        port=3141,
    )
    assert list_denying([DENY, allowing], {"app": "web"}, other) == (
        "default-deny",
        "allow-pypi-mirror",
    )


def test_reads_the_labels_of_a_cron_jobs_pods() -> None:
    job = {"jobTemplate": {"spec": new_workload()["spec"]}}
    target = ObjectSpec(kind="CronJob", name="nightly", namespace="shop")
    selected = {**DENY, "spec": {**DENY["spec"], "podSelector": {"matchLabels": {"app": "web"}}}}
    assert len(describe({"metadata": {}, "spec": job}, selected, target=target)) == 1
    selected["spec"]["podSelector"] = {"matchLabels": {"app": "other"}}
    assert describe({"metadata": {}, "spec": job}, selected, target=target) == []


def test_without_the_index_the_mirror_need_not_be_reached() -> None:
    env = {"HTTP_PROXY": "http://proxy.example", "PIP_INDEX_URL": "x"}
    assert describe(new_workload(env=env), DENY, index=False) == []
