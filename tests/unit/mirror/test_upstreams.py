"""The options --upstream and --pin: what they mean, and which do not fit together."""

from __future__ import annotations

import pytest

from mirror.core.errors import InputError
from mirror.index_rules import NO_RULES, IndexRules
from mirror.upstreams import Upstream, find_base, parse_pin, parse_upstreams, split_option

A, B = "https://a.example/simple/", "https://b.example/simple/"


def test_upstreams_keep_their_order() -> None:
    upstreams, pins = parse_upstreams([f"inner={A}", "default", f"cpu={B}"], ["Torch_X=cpu"])
    assert upstreams == (Upstream("inner", A), Upstream("default", ""), Upstream("cpu", B))
    assert pins == {"torch-x": "cpu"}
    assert find_base(upstreams).name == "default"
    assert find_base(upstreams[::2]).name == "inner"


def test_without_any_there_is_devpis_own() -> None:
    assert parse_upstreams([]) == ((Upstream("default", ""),), {})


def test_an_equals_sign_in_a_url_is_no_name() -> None:
    url = "https://a.example/simple/?token=x"
    assert parse_upstreams([url])[0] == (Upstream("default", url),)


@pytest.mark.parametrize(
    ("texts", "pins", "why"),
    [
        ([A, B], [], "two upstreams have the name default"),
        ([f"x={A}", f"x={B}"], [], "two upstreams have the name x"),
        ([A], ["torch=cpu"], "torch is pinned to cpu, which is no upstream"),
        ([A, f"cpu={B}"], ["t=cpu", "T=default"], "t is pinned to two upstreams"),
        ([f"../x={A}"], [], "not an index URL"),
        ([f"X={A}"], [], "not a name of an upstream"),
        ([f"={A}"], [], "not a name of an upstream"),
        ([f"{'a' * 33}={A}"], [], "not a name of an upstream"),
        ([f"a\n={A}"], [], "not a name of an upstream"),
        (["cpu=ftp://a.example/"], [], "not an index URL"),
        (["cpu=https://user:pw@a.example/"], [], "must not contain a password"),
        ([A], ["torch"], "not a pin"),
        ([A], ["torch=.."], "not a pin"),
        ([A], ["to/rch=default"], "not a project name"),
    ],
)
def test_refuses_what_does_not_fit(texts: list[str], pins: list[str], why: str) -> None:
    with pytest.raises(InputError, match=why):
        parse_upstreams(texts, pins)


def test_one_plain_url_is_the_setting_of_older_versions() -> None:
    assert split_option([A]) == {"upstream": A, "upstreams": ()}
    assert split_option(["default"]) == {"upstream": None, "upstreams": ()}
    assert split_option([A, f"cpu={B}"]) == {"upstream": A, "upstreams": (A, f"cpu={B}")}
    assert split_option([f"cpu={B}"]) == {"upstream": B, "upstreams": (f"cpu={B}",)}


def test_pins_are_normalized() -> None:
    assert parse_pin("Zope.Interface=inner") == ("zope-interface", "inner")


def test_rules_become_options_of_the_cache() -> None:
    rules = IndexRules(upstreams=("default", f"cpu={B}"), pins=("torch=cpu",))
    assert rules.build_options() == ("--upstream=default", f"--upstream=cpu={B}", "--pin=torch=cpu")
    assert not rules.are_plain
    assert NO_RULES.are_plain
    assert NO_RULES.build_options() == ()
