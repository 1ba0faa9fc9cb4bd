"""What the reconciler restores, and what it leaves to `mirror fix`."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.changes.model import ConfigMapKey, Edit
from deploy.fix_registry import load_editors
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
    """Return what the fixes themselves make of a Corefile."""
    for edit in edits:
        edited = load_editors()[edit.fix].edit(edit, COREFILE, text)
        assert edited is not None
        text = edited
    return text


WRITTEN = apply_fixes(BASE, SEARCH, DNS)


def apply_verdict(base: bytes, written: bytes, content: bytes) -> bytes:
    """Return what the reconciler leaves there."""
    verdict = detect_drift(base, written, content, spec=False)
    assert verdict.state != "unclear", verdict.why
    return verdict.content if verdict.state == "reverted" else content


def test_restores_a_reverted_text() -> None:
    assert apply_verdict(BASE, WRITTEN, BASE) == WRITTEN


def test_restores_one_of_two_fixes() -> None:
    assert apply_verdict(BASE, WRITTEN, apply_fixes(BASE, SEARCH)) == WRITTEN


def test_does_not_change_what_the_fix_wrote() -> None:
    assert apply_verdict(BASE, WRITTEN, WRITTEN) == WRITTEN


LINES = [b"errors", b"cache 30", b"reload", b"forward . /etc/resolv.conf", b"forward . 10.0.0.1"]


@given(st.sets(st.sampled_from(LINES)), st.booleans(), st.booleans())
def test_keeps_lines_that_others_added(after: set[bytes], top: bool, reverted: bool) -> None:
    """Lines are inserted after others, with and without the fix: the result has both."""
    text = BASE if reverted else WRITTEN
    for number, line in enumerate(sorted(after)):
        text = text.replace(line + b"\n", line + b"\n    log %d\n" % number, 1)
    text = b"# mine\n" + text if top else text
    verdict = detect_drift(BASE, WRITTEN, text, spec=False)
    if not reverted:
        assert verdict.state == "fine", "a fix that is in place is never written again"
    elif verdict.state == "reverted":
        fixed = apply_fixes(text, SEARCH, DNS)
        assert sorted(verdict.content.splitlines()) == sorted(fixed.splitlines())
        assert detect_drift(BASE, WRITTEN, verdict.content, spec=False).state == "fine"
    if b"forward . /etc/resolv.conf" not in after and b"errors" not in after:
        assert verdict.state == ("reverted" if reverted else "fine")


@pytest.mark.parametrize(
    ("base", "written", "content", "reason"),
    [
        (BASE, WRITTEN, None, "gone"),
        (BASE, WRITTEN, WRITTEN.replace(b"rcode NXDOMAIN", b"rcode SERVFAIL"), "edited where"),
        (BASE, WRITTEN, b".:53 {\n    whoami\n}\n", "edited where"),
        (b"{}\n", None, b"{}\n", "exists again"),
    ],
)
def test_leaves_unclear_cases_to_a_person(
    base: bytes, written: bytes | None, content: bytes | None, reason: str
) -> None:
    verdict = detect_drift(base, written, content, spec=False)
    assert (verdict.state, verdict.content) == ("unclear", b"")
    assert reason in verdict.why


def test_restores_a_spec_by_its_keys() -> None:
    base = encode_spec({"cidr": "fd70::/48", "natOutgoing": False})
    written = encode_spec({"cidr": "fd70::/48", "natOutgoing": False, "disabled": True})
    content = encode_spec({"cidr": "fd70::/48", "natOutgoing": True})
    verdict = detect_drift(base, written, content, spec=True)
    restored = json.loads(verdict.content)
    assert restored == {"cidr": "fd70::/48", "natOutgoing": True, "disabled": True}
    assert detect_drift(base, written, verdict.content, spec=True).state == "fine"


@pytest.mark.parametrize("content", [None, b"", b"theirs\n", b"ours\ntheirs\n", b"ours\n\n"])
def test_what_is_wholly_ours_is_overwritten(content: bytes | None) -> None:
    verdict = detect_drift(None, b"ours\n", content, spec=False, owned=True)
    assert (verdict.state, verdict.content) == ("reverted", b"ours\n")
    assert detect_drift(None, b"ours\n", b"ours\n", spec=False, owned=True).state == "fine"
