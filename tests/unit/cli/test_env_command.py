"""`mirror env`: its variables and their formats."""

from __future__ import annotations

import pytest

from cli.commands.env import bypass_proxies, render_environment


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
