"""What the keeper puts back, and what it leaves to `mirror fix`."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.changes.model import ConfigMapKey, Edit
from deploy.registry import load_all_fixes
from mirror.drift import detect_drift
from mirror.merge import encode_spec

BASE = b"""\
.:53 {
    errors
    forward . /etc/resolv.conf
    cache 30
    reload
}
example.org:53 {
    errors
    forward . 10.0.0.1
}
"""
DNS = Edit(fix="dns", options={"keep_aaaa": [], "forward": [], "prefer_udp": False})
SEARCH = Edit(fix="search-domains", options={"suffixes": ["home.example"], "keep": []})
COREFILE = ConfigMapKey(namespace="kube-system", name="coredns", key="Corefile")


def apply_fixes(text: bytes, *edits: Edit) -> bytes:
    """What the fixes themselves make of it."""
    for one in edits:
        made = load_all_fixes()[one.fix].edit(one, COREFILE, text)
        assert made is not None
        text = made
    return text


WRITTEN = apply_fixes(BASE, SEARCH, DNS)


def apply_verdict(base: bytes, written: bytes, content: bytes) -> bytes:
    """What the keeper leaves there."""
    told = detect_drift(base, written, content, spec=False)
    assert told.state != "unclear", told.why
    return told.content if told.state == "reverted" else content


def test_what_was_reverted_is_put_back() -> None:
    assert apply_verdict(BASE, WRITTEN, BASE) == WRITTEN


def test_one_fix_of_two_is_put_back() -> None:
    assert apply_verdict(BASE, WRITTEN, apply_fixes(BASE, SEARCH)) == WRITTEN


def test_what_stands_is_left_alone() -> None:
    assert apply_verdict(BASE, WRITTEN, WRITTEN) == WRITTEN


LINES = [b"errors", b"cache 30", b"reload", b"forward . /etc/resolv.conf", b"forward . 10.0.0.1"]


@given(st.sets(st.sampled_from(LINES)), st.booleans(), st.booleans())
def test_somebodys_other_lines_are_kept(after: set[bytes], top: bool, reverted: bool) -> None:
    """Lines put in behind others, with the fix there and without: what it makes has both."""
    text = BASE if reverted else WRITTEN
    for number, line in enumerate(sorted(after)):
        text = text.replace(line + b"\n", line + b"\n    log %d\n" % number, 1)
    text = b"# mine\n" + text if top else text
    told = detect_drift(BASE, WRITTEN, text, spec=False)
    if not reverted:
        assert told.state == "fine", "what stands is never written"
    elif told.state == "reverted":
        assert told.content == apply_fixes(text, SEARCH, DNS) or _same_lines(told.content, text)
        assert detect_drift(BASE, WRITTEN, told.content, spec=False).state == "fine"
    if b"forward . /etc/resolv.conf" not in after and b"errors" not in after:
        assert told.state == ("reverted" if reverted else "fine")


def _same_lines(made: bytes, text: bytes) -> bool:
    return sorted(made.splitlines()) == sorted(apply_fixes(text, SEARCH, DNS).splitlines())


@pytest.mark.parametrize(
    ("base", "written", "content", "said"),
    [
        (BASE, WRITTEN, None, "gone"),
        (BASE, WRITTEN, WRITTEN.replace(b"rcode NXDOMAIN", b"rcode SERVFAIL"), "edited where"),
        (BASE, WRITTEN, b".:53 {\n    whoami\n}\n", "edited where"),
        (b"{}\n", None, b"{}\n", "there again"),
    ],
)
def test_what_is_unclear_is_left_to_a_person(
    base: bytes, written: bytes | None, content: bytes | None, said: str
) -> None:
    told = detect_drift(base, written, content, spec=False)
    assert (told.state, told.content) == ("unclear", b"")
    assert said in told.why


def test_a_spec_is_put_back_by_its_keys() -> None:
    base = encode_spec({"cidr": "fd70::/48", "natOutgoing": False})
    written = encode_spec({"cidr": "fd70::/48", "natOutgoing": False, "disabled": True})
    content = encode_spec({"cidr": "fd70::/48", "natOutgoing": True})
    told = detect_drift(base, written, content, spec=True)
    assert json.loads(told.content) == {"cidr": "fd70::/48", "natOutgoing": True, "disabled": True}
    assert detect_drift(base, written, told.content, spec=True).state == "fine"
