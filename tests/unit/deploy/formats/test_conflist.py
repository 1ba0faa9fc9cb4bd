"""Edits of CNI configuration lists change only what they have to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.formats.conflist import (
    ConflistError,
    assigns_ipv6,
    disable_ipv6,
    disables_ipv6,
    read_plugin_types,
    stop_assigning_ipv6,
)
from mirror.agent.allowlist import TUNING_PLUGINS
from tests.cluster.calico.objects import CNI_CONFIG_TEMPLATE

fifty_examples = settings(max_examples=50, deadline=None)
TEMPLATE = CNI_CONFIG_TEMPLATE % "true"

names = st.text(max_size=6).filter(lambda name: name not in ("plugins", "ipam", "sysctl", "type"))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
plugins = st.builds(
    lambda fields, kind: {**fields, "type": kind},
    st.dictionaries(names, values, max_size=4),
    st.sampled_from(("calico", "bridge", "portmap", "bandwidth", "firewall")),
)


@st.composite
def conflists(draw: st.DrawFn) -> tuple[dict[str, Any], str]:
    config: dict[str, Any] = draw(st.dictionaries(names, values, max_size=3))
    config["plugins"] = draw(st.lists(plugins, min_size=1, max_size=4))
    if draw(st.booleans()):
        config["plugins"][0]["ipam"] = {
            "assign_ipv6": draw(st.sampled_from(("true", "false", True)))
        }
    indent = draw(st.sampled_from((None, 0, 1, 2, 4, "\t")))
    separators = draw(st.sampled_from(((", ", ": "), (",", ":"), (" , ", " :  "))))
    return config, json.dumps(config, indent=indent, separators=separators)


@fifty_examples
@given(conflists())
def test_tuning_follows_the_first_plugin_and_nothing_else_changes(
    conflist: tuple[dict[str, Any], str],
) -> None:
    config, text = conflist
    after = disable_ipv6(text)
    expected = [config["plugins"][0], *TUNING_PLUGINS, *config["plugins"][1:]]
    assert json.loads(after) == {**config, "plugins": expected}
    assert disables_ipv6(after)
    assert disable_ipv6(after) == after
    added = next(n for n in range(len(text)) if text[n] != after[n])
    assert after.endswith(text[added:])
    assert len(after) - len(text) < 400


@fifty_examples
@given(conflists())
def test_changes_only_assign_ipv6(conflist: tuple[dict[str, Any], str]) -> None:
    config, text = conflist
    before = config["plugins"][0].get("ipam", {}).get("assign_ipv6")
    after = stop_assigning_ipv6(text)
    assert not assigns_ipv6(after)
    if before in ("true", True):
        config["plugins"][0]["ipam"]["assign_ipv6"] = "false" if before == "true" else False
        assert json.loads(after) == config
    else:
        assert after == text


@fifty_examples
@given(conflists())
def test_the_order_of_both_edits_does_not_matter(conflist: tuple[dict[str, Any], str]) -> None:
    _, text = conflist
    assert disable_ipv6(stop_assigning_ipv6(text)) == stop_assigning_ipv6(disable_ipv6(text))


def test_calicos_template_keeps_its_placeholders_and_layout() -> None:
    after = disable_ipv6(TEMPLATE)
    lines = after.splitlines()
    added = [line for line in lines if line not in TEMPLATE.splitlines()]
    assert [line.strip()[:18] for line in added] == ['{"type": "tuning",'] * 2
    assert "\n".join(line for line in lines if line not in added) == TEMPLATE
    assert '"mtu": __CNI_MTU__,' in after
    assert read_plugin_types(after) == ("calico", "tuning", "tuning", "portmap")
    filled = after.replace("__CNI_MTU__", "1440")
    assert json.loads(filled)["plugins"][1:3] == [dict(plugin) for plugin in TUNING_PLUGINS]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "line 1, column 1: expected a value"),
        ("{}", 'no list of "plugins"'),
        ('{"plugins": []}', 'no list of "plugins"'),
        ('{"plugins": [1]}', "not an object"),
        ('{"plugins": [{"type": "calico"},]}', "nothing after a comma"),
        ('{"plugins": [{"type": "calico"}]', "line 1, column 33: expected ,"),
        ('{"plugins": [{"type": "calico"}]}}', "more text after its end"),
        ('{"plugins": [{"a": 1, "a": 2}]}', "appears twice"),
        ('{"type": "calico", "mtu": CNI_MTU}', "expected a value"),
        ("[" * 5000, "too deep"),
        ("\x00\xff", "expected a value"),
    ],
)
def test_rejects_other_text_with_the_position(text: str, why: str) -> None:
    with pytest.raises(ConflistError, match=why):
        disable_ipv6(text)


@fifty_examples
@given(st.text(alphabet='{}[]",:_ a1\n\\', max_size=60))
def test_rejects_or_edits_random_text(text: str) -> None:
    try:
        assert disables_ipv6(disable_ipv6(text))
    except ConflistError:
        return


def test_keeps_another_tuning_plugin() -> None:
    other = {"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}}
    text = json.dumps({"plugins": [{"type": "bridge"}, other]})
    assert json.loads(disable_ipv6(text))["plugins"] == [
        {"type": "bridge"},
        *TUNING_PLUGINS,
        other,
    ]
