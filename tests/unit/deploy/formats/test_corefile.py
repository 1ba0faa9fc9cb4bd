"""Corefiles: given back unchanged, edited by as little as possible, refused where they are odd."""

from __future__ import annotations

import re
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
WORDS = st.lists(st.sampled_from(["a", "b c", "# d"]), max_size=3)
SUFFIXES = ["communityfibre.co.uk", "home.example"]


def edited(text: bytes, **options: object) -> bytes:
    made = dns.edit(Edit(fix="dns", options={**PLAIN, **options}), TARGET, text)
    assert made is not None
    return made


def guarded(text: bytes, keep: tuple[str, ...] = ()) -> bytes:
    options = {"suffixes": SUFFIXES, "keep": list(keep)}
    made = search_domains.edit(Edit(fix="search-domains", options=options), TARGET, text)
    assert made is not None
    return made


def edits() -> list[object]:
    return [edited, guarded, lambda text: edited(guarded(text), **UDP)]


def test_the_corpus_is_large() -> None:
    assert len(CORPUS) >= 140


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_every_word_stands_where_it_says(path: Path) -> None:
    text = path.read_bytes().decode()
    at = 0
    for one in tokenize(text):
        between = text[at : one.begin]
        assert re.fullmatch(r"(\s|\ufeff|#[^\n]*)*", between), "only space and comments between"
        assert text.count("\n", 0, one.begin) + 1 == one.line
        at = one.end
    assert re.fullmatch(r"(\s|\ufeff|#[^\n]*)*", text[at:])


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
@pytest.mark.parametrize("edit", range(3))
def test_an_edit_only_adds_lines(path: Path, edit: int) -> None:
    """Every line that was there is there still, in its order; and it is still a Corefile."""
    before = path.read_bytes()
    try:
        after = edits()[edit](before)  # type: ignore[operator]
    except CannotEdit:
        return
    if b"forward" in before and edit == 2:
        return  # this one changes a line, as it is asked to
    rest = iter(after.splitlines(keepends=True))
    missing = [line for line in before.splitlines(keepends=True) if line not in rest]
    whole = [line for line in missing if line.strip() and line.endswith(b"\n")]
    split = {b". { errors\n", b". {\n"}
    assert [line for line in whole if line not in split] == []
    parse(after.decode())


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
@pytest.mark.parametrize("edit", range(3))
def test_an_edit_is_made_once(path: Path, edit: int) -> None:
    act = edits()[edit]
    try:
        after = act(path.read_bytes())  # type: ignore[operator]
    except CannotEdit:
        return
    assert act(after) == after  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("shape-no-root", "root zone"),
        ("shape-only-comments", "root zone"),
        ("shape-empty", "root zone"),
    ],
)
def test_what_cannot_be_edited_is_refused(name: str, reason: str) -> None:
    path = next(one for one in CORPUS if one.stem == name)
    with pytest.raises(CannotEdit, match=reason):
        edited(path.read_bytes())


def test_force_tcp_is_not_overruled() -> None:
    path = next(one for one in CORPUS if one.stem == "shape-force-tcp")
    with pytest.raises(CannotEdit, match="force_tcp"):
        edited(path.read_bytes(), prefer_udp=True)


@pytest.mark.parametrize("text", [".:53 {\n errors\n", "a,", ". {\n a {\n}\n", "{\n}\n}\n"])
def test_broken_ones_are_refused(text: str) -> None:
    with pytest.raises(CannotEdit):
        edited(text.encode())


def test_what_the_runbook_wrote_by_hand_is_not_doubled() -> None:
    path = next(one for one in CORPUS if one.stem == "dist-runbook-by-hand")
    assert edited(path.read_bytes(), **UDP) == path.read_bytes()


def test_a_template_in_an_imported_snippet_counts() -> None:
    path = next(one for one in CORPUS if one.stem == "shape-snippet")
    assert edited(path.read_bytes()) == path.read_bytes()


def test_line_ends_and_indents_are_the_texts_own() -> None:
    by_name = {path.stem: path.read_bytes() for path in CORPUS}
    crlf = edited(by_name["shape-crlf"], **UDP)
    assert crlf.count(b"\n") == crlf.count(b"\r\n")
    tabs = edited(by_name["shape-tabs"], **UDP)
    assert b"\n\ttemplate IN AAAA . {" in tabs
    assert b"\n\t\tprefer_udp" in tabs
    assert edited(by_name["shape-no-last-newline"]).endswith(b"}")


def test_forward_as_the_runbook_has_it() -> None:
    after = edited(b".:53 {\n    forward . /etc/resolv.conf\n    reload\n}\n", **UDP).decode()
    assert "    forward . 8.8.8.8 8.8.4.4 {\n        prefer_udp\n    }\n    reload\n}\n" in after


def test_the_nearest_server_block_is_guarded() -> None:
    text = b".:53 {\n    forward . 9.9.9.9\n}\nco.uk {\n    forward . 10.0.0.1\n}\n"
    found = parse(guarded(text).decode())
    told = {
        block.keys[0]: [one.args[2] for one in block.find("template")] for block in found.blocks
    }
    assert told == {".:53": ["home.example"], "co.uk": ["communityfibre.co.uk"]}


def test_guards_come_before_what_answers_everything() -> None:
    both = guarded(edited(b".:53 {\n    forward . 9.9.9.9\n}\n")).decode()
    found = parse(both).server_blocks[0].find("template")
    assert [one.args[:2] for one in found] == [("ANY", "ANY"), ("ANY", "ANY"), ("IN", "AAAA")]


def test_coredns_custom_gets_directives_alone() -> None:
    made = dns.edit(Edit(fix="dns", options=PLAIN), CUSTOM, None)
    assert made is not None
    assert made.decode().startswith("# pypi-mirror fix dns")
    assert dns.edit(Edit(fix="dns", options=PLAIN), CUSTOM, made) == made


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
def test_zones_of_keys(key: str, zone: str) -> None:
    assert parse_zone(key) == zone


@given(st.text(alphabet='{}".#\\ \t\r\n,abforwdi:53()', max_size=120))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text)
    except CorefileError:
        return
    for one in tokenize(text):
        assert text[one.begin : one.end]


@given(
    st.sampled_from(CORPUS), st.lists(st.sampled_from(["a", "b c", "# d"]), max_size=3), st.data()
)
def test_what_is_put_in_can_be_taken_out(path: Path, lines: list[str], data: st.DataObject) -> None:
    """Lines put in at any block's end; taking just them out gives back every byte."""
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
    raise AssertionError("something else was changed")


# -- names that are kept --------------------------------------------------------------------------

LABELS = st.text(alphabet="abc-1", min_size=1, max_size=3).filter(lambda one: one.strip("-") == one)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)


@given(st.lists(NAMES, min_size=1, max_size=4), NAMES)
def test_outside_is_what_is_under_no_suffix(kept: list[str], name: str) -> None:
    inside = any(name == one or name.endswith(f".{one}") for one in kept)
    assert bool(re.search(template_plugin.match_outside(kept), f"{name}.")) is not inside


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_the_kept_ones_themselves_are_not_outside(kept: list[str]) -> None:
    pattern = template_plugin.match_outside(kept)
    for one in kept:
        assert not re.search(pattern, f"{one}.")
        assert not re.search(pattern, f"x.{one}.")
        assert re.search(pattern, f"{one}z.")
    assert re.search(pattern, ".")


@given(st.lists(NAMES, max_size=3), NAMES)
def test_what_search_expansion_makes(kept: list[str], name: str) -> None:
    suffix = "home.example"
    full = [f"{one}.{suffix}" for one in kept]
    is_kept = any(name == one or name.endswith(f".{one}") for one in kept)
    wanted = "." in name and not is_kept
    assert (
        bool(re.search(template_plugin.match_expanded(suffix, full), f"{name}.{suffix}.")) is wanted
    )


def test_the_suffix_itself_and_single_labels_go_on_to_resolve() -> None:
    pattern = template_plugin.match_expanded("home.example")
    assert not re.search(pattern, "home.example.")
    assert not re.search(pattern, "nas.home.example.")
    assert re.search(pattern, "pypi-index.example.home.example.")
    assert not re.search(pattern, "a.b.homexexample.")
