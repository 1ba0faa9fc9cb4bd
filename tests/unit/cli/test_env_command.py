"""`mirror env`: its variables and their formats."""

from __future__ import annotations

import tomllib

import pytest

from cli.commands.env import bypass_proxies, render_environment, render_uv_index
from mirror.lock_urls import IndexAddresses


@pytest.mark.parametrize(
    ("present", "value"),
    [
        ({}, "127.0.0.1"),
        ({"NO_PROXY": "a.example, .svc"}, "a.example,.svc,127.0.0.1"),
        ({"no_proxy": "b.example", "NO_PROXY": "a.example"}, "a.example,b.example,127.0.0.1"),
        ({"no_proxy": "127.0.0.1,b.example"}, "127.0.0.1,b.example"),
    ],
)
def test_the_mirror_is_added_to_what_bypasses_the_proxy(
    present: dict[str, str], value: str
) -> None:
    """Some programs read only the one variable, some prefer the other."""
    assert bypass_proxies("127.0.0.1", present) == {"NO_PROXY": value, "no_proxy": value}


def test_everything_bypasses_the_proxy_already() -> None:
    assert bypass_proxies("127.0.0.1", {"no_proxy": "*"}) == {}


def test_renders_shell_text_that_cannot_run_commands() -> None:
    assert render_environment({"NO_PROXY": "$(id)"}, "shell") == "export NO_PROXY='$(id)'"


def test_the_index_of_uv_leads_to_the_mirror_for_the_upstream() -> None:
    index = IndexAddresses("https://index.example/simple/", "https://files.example/packages/")
    mirror = IndexAddresses("http://10.1.2.3:3141/x/+simple/", "http://10.1.2.3:3141/packages/")
    proxy, upstream = tomllib.loads(render_uv_index(index, mirror))["index"]
    assert proxy == {
        "name": "pypi-mirror",
        "url": "http://10.1.2.3:3141/x/+simple/",
        "proxy-for": "https://index.example/simple/",
        "artifact-base-url": "http://10.1.2.3:3141/packages/",
    }
    assert upstream["artifact-base-url"] == "https://files.example/packages/"
    unknown = IndexAddresses(index.index, "")
    assert len(tomllib.loads(render_uv_index(unknown, mirror))["index"]) == 1
