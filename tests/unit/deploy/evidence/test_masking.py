"""Secrets are masked in lines, commands and objects; what a bug report needs is kept."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.evidence.masking import MASK, mask_command, mask_object, mask_text, may_show_value

CANARY = "hunter2canary"
TOKENS = [
    "ghp_" + "a1B2" * 9,
    "glpat-" + "a1B2c3D4" * 3,
    "hf_" + "a1B2" * 8,
    "sk-" + "a1B2" * 8,
    "pypi-" + "AgEIcHlwaS5vcmc" * 3,
    "AKIA" + "ABCD1234" * 2,
    "xoxb-123456789012-abcdef",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
]


@pytest.mark.parametrize(
    "line",
    [
        f"https://bot:{CANARY}@index.example/simple",
        f"postgres://chronicle:{CANARY}@db:5432/app",
        f"password={CANARY}",
        f"PASSWORD: {CANARY}",
        f'"api_key": "{CANARY}"',
        f"OPENAI_API_KEY='{CANARY}'",
        f"AUTH_SECRET_KEY={CANARY}",
        f"Authorization: Bearer {CANARY}",
        f"authorization: basic {CANARY}==",
        f"curl -H 'X-Auth-Token: {CANARY}'",
        f"tool --token {CANARY} run",
        f"tool --password={CANARY}",
        f"GET /simple?access_token={CANARY}&x=1",
        f"-----BEGIN RSA PRIVATE KEY-----\n{CANARY}\n-----END RSA PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{CANARY}",
    ],
)
def test_masks_secrets_in_a_line(line: str) -> None:
    assert CANARY not in mask_text(line)
    assert MASK in mask_text(line)


@pytest.mark.parametrize("token", TOKENS)
def test_masks_tokens_by_their_shape(token: str) -> None:
    assert mask_text(f"got {token}, going on") == f"got {MASK}, going on"


@pytest.mark.parametrize(
    "line",
    [
        "error: Failed to fetch: https://index.example/simple/fastapi/",
        "cause: failed to lookup address information: Name has no usable address",
        "http://10.152.183.189:3141/workloads/stable/+simple/",
        "Installed 146 packages in 1.20s",
        "connect to fd70:8823:7283::1 port 443: Network is unreachable",
    ],
)
def test_keeps_lines_that_show_the_cause(line: str) -> None:
    assert mask_text(line) == line


@given(st.text(), st.text())
def test_masking_is_idempotent(before: str, after: str) -> None:
    once = mask_text(f"{before} password={CANARY} {after}")
    assert CANARY not in once or CANARY in before + after
    assert mask_text(once) == once


def test_masks_the_word_after_a_flag() -> None:
    words = ["run", "--token", CANARY, "--name", "x", f"--api-key={CANARY}"]
    assert mask_command(words) == ["run", "--token", MASK, "--name", "x", f"--api-key={MASK}"]


def test_shows_only_listed_variables() -> None:
    assert may_show_value("UV_INDEX_URL")
    assert may_show_value("FELIX_IPV6SUPPORT")
    assert may_show_value("IP6")
    assert not may_show_value("HF_TOKEN")
    assert not may_show_value("UV_INDEX_PRIVATE_PASSWORD")
    assert not may_show_value("NODE_OPTIONS")
    assert not may_show_value("MY_HARMLESS_NAME")


def test_masks_objects() -> None:
    applied = "kubectl.kubernetes.io/last-applied-configuration"
    pod = {
        "metadata": {"annotations": {applied: CANARY, "note": "kept"}, "managedFields": [CANARY]},
        "spec": {
            "nodeName": "ra",
            "containers": [
                {
                    "name": "main",
                    "env": [
                        {"name": "WHATEVER", "value": CANARY},
                        {"name": "UV_INDEX_URL", "value": f"http://u:{CANARY}@10.0.0.1/"},
                        {"name": "IP6", "value": "autodetect"},
                        {"name": "K", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                    ],
                    "args": ["--password", CANARY],
                }
            ],
            "volumes": [{"secret": {"secretName": "kept-name"}}],
        },
        "data": {"db-password": CANARY, "config": f"token: {CANARY}\nport: 80"},
    }
    masked = json.dumps(mask_object(pod))
    assert CANARY not in masked
    for kept in ("ra", "note", "autodetect", "kept-name", "secretKeyRef", "port: 80", "10.0.0.1"):
        assert kept in masked
