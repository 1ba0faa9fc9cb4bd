"""Corefiles are parsed as CoreDNS does, edited as little as possible, or refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.changes.model import CannotEdit, ConfigMapKey, Edit
from deploy.fixes import dns, search_domains
from deploy.formats import template_plugin
from deploy.formats.corefile import CorefileError, insert_lines, parse, parse_zone
from deploy.formats.corefile_lexer import tokenize

CORPUS = sorted((Path(__file__).parents[2] / "cases/corefiles").glob("*.corefile"))
TARGET = ConfigMapKey(namespace="kube-system", name="coredns", key="Corefile")
CUSTOM = ConfigMapKey(namespace="kube-system", name="coredns-custom", key="pypi-mirror.override")
PLAIN = {"keep_aaaa": [], "forward": [], "prefer_udp": False}
UDP = {"keep_aaaa": [], "forward": ["8.8.8.8", "8.8.4.4"], "prefer_udp": True}
SUFFIXES = ["communityfibre.co.uk", "home.example"]


def apply_dns(text: bytes, **options: object) -> bytes:
    edited = dns.edit(Edit(fix="dns", options={**PLAIN, **options}), TARGET, text)
    assert edited is not None
    return edited


def apply_guards(text: bytes) -> bytes:
    options = {"suffixes": SUFFIXES, "keep": []}
    edited = search_domains.edit(Edit(fix="search-domains", options=options), TARGET, text)
    assert edited is not None
    return edited


def apply_both(text: bytes) -> bytes:
    return apply_dns(apply_guards(text), **UDP)


def read_case(name: str) -> bytes:
    return next(path for path in CORPUS if path.stem == name).read_bytes()


def apply_dns_with_kept_names(text: bytes) -> bytes:
    return apply_dns(text, keep_aaaa=["cluster.local", "home.example"])


EDITS = (apply_dns, apply_guards, apply_both, apply_dns_with_kept_names)


def test_the_corpus_is_large() -> None:
    assert len(CORPUS) >= 140


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_every_token_has_its_position(path: Path) -> None:
    text = path.read_bytes().decode()
    at = 0
    for token in tokenize(text):
        between = text[at : token.begin]
        assert re.fullmatch(r"(\s|\ufeff|#[^\n]*)*", between), "only space and comments between"
        assert text.count("\n", 0, token.begin) + 1 == token.line
        at = token.end
    assert re.fullmatch(r"(\s|\ufeff|#[^\n]*)*", text[at:])


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_only_adds_lines(path: Path, edit: Callable[[bytes], bytes]) -> None:
    """All earlier lines remain in their order, and the text is still a Corefile."""
    before = path.read_bytes()
    try:
        after = edit(before)
    except CannotEdit:
        return
    if b"forward" in before and edit is apply_both:
        return  # its options change a line
    rest = iter(after.splitlines(keepends=True))
    missing = [line for line in before.splitlines(keepends=True) if line not in rest]
    whole = [line for line in missing if line.strip() and line.endswith(b"\n")]
    split = {b". { errors\n", b". {\n"}
    assert [line for line in whole if line not in split] == []
    parse(after.decode())


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
@pytest.mark.parametrize("edit", EDITS)
def test_edits_are_idempotent(path: Path, edit: Callable[[bytes], bytes]) -> None:
    try:
        after = edit(path.read_bytes())
    except CannotEdit:
        return
    assert edit(after) == after


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("shape-no-root", "root zone"),
        ("shape-only-comments", "root zone"),
        ("shape-empty", "root zone"),
    ],
)
def test_refuses_a_corefile_without_a_root_zone(name: str, reason: str) -> None:
    with pytest.raises(CannotEdit, match=reason):
        apply_dns(read_case(name))


def test_does_not_override_force_tcp() -> None:
    with pytest.raises(CannotEdit, match="force_tcp"):
        apply_dns(read_case("shape-force-tcp"), prefer_udp=True)


@pytest.mark.parametrize("text", [".:53 {\n errors\n", "a,", ". {\n a {\n}\n", "{\n}\n}\n"])
def test_refuses_a_broken_corefile(text: str) -> None:
    with pytest.raises(CannotEdit):
        apply_dns(text.encode())


def test_recognizes_the_blocks_of_the_runbook() -> None:
    text = read_case("dist-runbook-by-hand")
    assert apply_dns(text, **UDP) == text


def test_recognizes_a_template_in_an_imported_snippet() -> None:
    text = read_case("shape-snippet")
    assert apply_dns(text) == text


def test_follows_the_line_endings_and_indents_of_the_text() -> None:
    crlf = apply_dns(read_case("shape-crlf"), **UDP)
    assert crlf.count(b"\n") == crlf.count(b"\r\n")
    tabs = apply_dns(read_case("shape-tabs"), **UDP)
    assert b"\n\ttemplate IN AAAA . {" in tabs
    assert b"\n\t\tprefer_udp" in tabs
    assert apply_dns(read_case("shape-no-last-newline")).endswith(b"}")


def test_edits_forward_as_in_the_runbook() -> None:
    after = apply_dns(b".:53 {\n    forward . /etc/resolv.conf\n    reload\n}\n", **UDP).decode()
    assert "    forward . 8.8.8.8 8.8.4.4 {\n        prefer_udp\n    }\n    reload\n}\n" in after


def test_guards_the_nearest_server_block() -> None:
    text = b".:53 {\n    forward . 9.9.9.9\n}\nco.uk {\n    forward . 10.0.0.1\n}\n"
    guards = {
        block.keys[0]: [template.args[2] for template in block.find("template")]
        for block in parse(apply_guards(text).decode()).blocks
    }
    assert guards == {".:53": ["home.example"], "co.uk": ["communityfibre.co.uk"]}


def test_puts_guards_before_templates_that_answer_everything() -> None:
    text = apply_guards(apply_dns(b".:53 {\n    forward . 9.9.9.9\n}\n")).decode()
    templates = parse(text).server_blocks[0].find("template")
    assert [template.args[:2] for template in templates] == [
        ("ANY", "ANY"),
        ("ANY", "ANY"),
        ("IN", "AAAA"),
    ]


def test_writes_only_directives_to_coredns_custom() -> None:
    edited = dns.edit(Edit(fix="dns", options=PLAIN), CUSTOM, None)
    assert edited is not None
    assert edited.decode().startswith("# pypi-mirror fix dns")
    assert dns.edit(Edit(fix="dns", options=PLAIN), CUSTOM, edited) == edited


@pytest.mark.parametrize(
    ("key", "zone"),
    [
        (".", "."),
        (".:53", "."),
        ("dns://.:1053", "."),
        ("Example.Org.:53", "example.org"),
        ("tls://example.org", "example.org"),
        ("{$ZONE}", "{$zone}"),
    ],
)
def test_parses_the_zone_of_a_key(key: str, zone: str) -> None:
    assert parse_zone(key) == zone


@given(st.text(alphabet='{}".#\\ \t\r\n,abforwdi:53()', max_size=120))
def test_reads_or_rejects_any_text(text: str) -> None:
    try:
        parse(text)
    except CorefileError:
        return
    for token in tokenize(text):
        assert text[token.begin : token.end]


@given(
    st.sampled_from(CORPUS), st.lists(st.sampled_from(["a", "b c", "# d"]), max_size=3), st.data()
)
def test_inserted_lines_are_one_piece(path: Path, lines: list[str], data: st.DataObject) -> None:
    """Removing one piece of the text restores every byte."""
    text = path.read_bytes().decode()
    try:
        blocks = parse(text).blocks
    except CorefileError:
        return
    if not blocks:
        return
    block = data.draw(st.sampled_from(blocks))
    after = insert_lines(text, block.insert_at, lines, "  ")
    begin = next(
        (n for n, (a, b) in enumerate(zip(text, after, strict=False)) if a != b), len(text)
    )
    for start in range(begin, -1, -1):
        end = start + len(after) - len(text)
        if after[:start] + after[end:] == text:
            return
    raise AssertionError("something else changed")


# -- kept names ---------------------------------------------------------------------------------

LABELS = st.text(alphabet="abc-1", min_size=1, max_size=3).filter(
    lambda label: label.strip("-") == label
)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)


@given(st.lists(NAMES, min_size=1, max_size=4), NAMES)
def test_outside_matches_names_under_no_suffix(kept: list[str], name: str) -> None:
    inside = any(name == suffix or name.endswith(f".{suffix}") for suffix in kept)
    assert bool(re.search(template_plugin.match_outside(kept), f"{name}.")) is not inside


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_outside_does_not_match_the_suffixes_themselves(kept: list[str]) -> None:
    pattern = template_plugin.match_outside(kept)
    for suffix in kept:
        assert not re.search(pattern, f"{suffix}.")
        assert not re.search(pattern, f"x.{suffix}.")
        assert re.search(pattern, f"{suffix}z.")
    assert re.search(pattern, ".")


@given(st.lists(NAMES, max_size=3), NAMES)
def test_expanded_matches_two_labels_that_are_not_kept(kept: list[str], name: str) -> None:
    suffix = "home.example"
    pattern = template_plugin.match_expanded(suffix, [f"{host}.{suffix}" for host in kept])
    is_kept = any(name == host or name.endswith(f".{host}") for host in kept)
    is_expanded = "." in name and not is_kept
    assert bool(re.search(pattern, f"{name}.{suffix}.")) is is_expanded


def test_expanded_matches_neither_the_suffix_nor_single_labels() -> None:
    pattern = template_plugin.match_expanded("home.example")
    assert not re.search(pattern, "home.example.")
    assert not re.search(pattern, "nas.home.example.")
    assert re.search(pattern, "pypi-index.example.home.example.")
    assert not re.search(pattern, "a.b.homexexample.")
