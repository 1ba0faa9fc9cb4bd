"""Compare the answers that we expect from chains of templates with those of CoreDNS itself."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from deploy.changes.model import CannotEdit, ConfigMapKey, Edit
from deploy.fixes import dns, search_domains
from deploy.formats import corefile
from deploy.formats.corefile import ParsedCorefile
from deploy.formats.template_chain import answer_query
from mirror.core.wait import Deadline, wait_until
from mirror.probe.dns_query import QTYPES, query
from mirror.probe.model import DnsAnswer
from tests.cluster.binaries import ensure_binaries

pytestmark = pytest.mark.cluster

PROOF = "pypi-mirror-proof.invalid"
NAMES = ("a.b.lab.example", "host.lab.example", "media.example", "printer.example", PROOF)
ADDRESSES = {"A": "192.0.2.7", "AAAA": "2001:db8::7"}  # what the plugin after the templates answers
FIRST_PORT = 20_530
HEADS = ("IN AAAA .", "ANY AAAA", "IN A", "ANY ANY lab.example", "IN ANY example", "CH AAAA .")
PATTERNS = (
    r"match ^printer\.example\.$",
    r"match ^([^.]+\.){2,}lab\.example\.$",
    r"match ^([^.]+\.)*media\.example\.$ invalid",
    'match "^pypi-"',
)
ENDS = ("rcode NXDOMAIN", "rcode NOERROR", "rcode REFUSED", "rcode SERVFAIL", "")
FALLS = ("fallthrough", "fallthrough lab.example", "")
RECORD = 'answer "{{ .Name }} 60 IN AAAA 2001:db8::1"'


def render_template(dice: random.Random) -> str:
    """Return a template; one in five stands on one line, as CoreDNS accepts it for `rcode`."""
    head = dice.choice(HEADS)
    if dice.random() < 0.2:
        return f"    template {head} {{ rcode NXDOMAIN }}\n"
    body = [dice.choice(PATTERNS) if dice.random() < 0.6 else "", dice.choice(ENDS)]
    body += [RECORD if head == "IN AAAA ." and dice.random() < 0.2 else "", dice.choice(FALLS)]
    lines = "".join(f"        {line}\n" for line in body if line)
    return f"    template {head} {{\n{lines}    }}\n"


def render_hosts() -> str:
    """Return a plugin that answers all names, as whatever comes after the templates does."""
    entries = [f"        {address} {name}\n" for name in NAMES for address in ADDRESSES.values()]
    return f"    hosts {{\n{''.join(entries)}    }}\n    forward . 127.0.0.1:1\n"


def render_chains(count: int) -> list[str]:
    """Return that many server blocks, each on a port of its own; some import a snippet."""
    dice = random.Random(25)
    blocks = []
    for number in range(count):
        templates = [render_template(dice) for _ in range(dice.randint(1, 4))]
        if dice.random() < 0.3:
            templates.insert(dice.randrange(len(templates) + 1), "    import denied\n")
        text = "".join(templates) + render_hosts()
        blocks.append(f".:{FIRST_PORT + number} {{\n    bind 127.0.0.1\n{text}}}\n")
    return blocks


SNIPPET = "(denied) {\n    import inner\n}\n"
INNER = "(inner) {\n    template IN AAAA invalid {\n        rcode NXDOMAIN\n    }\n}\n"


def ask(text: str, tmp_path: Path, port: int, names: tuple[str, ...]) -> dict[str, DnsAnswer]:
    """Start CoreDNS on a Corefile; return `TYPE NAME` → answer of the block on this port."""
    return ask_all(text, tmp_path, [port], names)[port]


def ask_all(
    text: str, tmp_path: Path, ports: list[int], names: tuple[str, ...]
) -> dict[int, dict[str, DnsAnswer]]:
    file = tmp_path / "Corefile"
    file.write_text(text)
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen(
        [ensure_binaries().coredns, "-conf", file], stdout=log, stderr=log, env={}
    )
    try:
        wait_until(
            lambda: b"CoreDNS-" in (tmp_path / "log").read_bytes() or process.poll() is not None,
            deadline=Deadline.after(30),
            what="CoreDNS listens",
        )
        assert process.poll() is None, (tmp_path / "log").read_text()
        return {
            port: {
                f"{qtype} {name}": query(("127.0.0.1",), name, QTYPES[qtype], port=port)
                for name in names
                for qtype in QTYPES
            }
            for port in ports
        }
    finally:
        process.terminate()
        process.wait(10)
        log.close()


def expect(parsed: ParsedCorefile, port: int, name: str, qtype: str) -> DnsAnswer:
    block = next(b for b in parsed.server_blocks if b.keys[0].endswith(f":{port}"))
    answer = answer_query(parsed.effective_directives(block), block, name, qtype)
    if answer is None:
        return DnsAnswer(code="NOERROR", addresses=(ADDRESSES[qtype],))
    has_records = answer.has_records and answer.rcode != "SERVFAIL"
    return DnsAnswer(code=answer.rcode, addresses=("2001:db8::1",) if has_records else ())


def test_expects_the_answers_of_coredns(tmp_path: Path) -> None:
    blocks = render_chains(150)
    text = INNER + SNIPPET + "".join(blocks)
    ports = [FIRST_PORT + number for number in range(len(blocks))]
    parsed = corefile.parse(text)
    answers = ask_all(text, tmp_path, ports, NAMES)
    wrong = {
        f"{key} in\n{blocks[port - FIRST_PORT]}": (answer, expected)
        for port, by_key in answers.items()
        for key, answer in by_key.items()
        if answer != (expected := expect(parsed, port, key.split()[1], key.split()[0]))
    }
    assert wrong == {}, f"{len(wrong)} of {len(ports) * len(NAMES) * 2}"
    codes = {answer.code for by_key in answers.values() for answer in by_key.values()}
    assert codes == {"NOERROR", "NXDOMAIN", "REFUSED", "SERVFAIL"}


def test_the_fix_empties_aaaa_after_any_chain(tmp_path: Path) -> None:
    """Whatever templates there are, made-up names get no records, and A stays as it was."""
    blocks = render_chains(80)
    text = INNER + SNIPPET + "".join(blocks)
    target = ConfigMapKey(namespace="kube-system", name="coredns", key="Corefile")
    edit = Edit(fix="dns", options={"keep_aaaa": [], "forward": [], "prefer_udp": False})
    fixed = dns.edit(edit, target, text.encode())
    assert fixed is not None
    ports = [int(block[2:7]) for block in blocks]
    before, after = (tmp_path / "before", tmp_path / "after")
    before.mkdir()
    after.mkdir()
    old = ask_all(text, before, ports, (PROOF,))
    new = ask_all(fixed.decode(), after, ports, (PROOF,))
    assert {new[port][f"AAAA {PROOF}"] for port in ports} == {DnsAnswer(code="NOERROR")}
    assert [new[port][f"A {PROOF}"] for port in ports] == [
        old[port][f"A {PROOF}"] for port in ports
    ]


def test_nested_search_domains_keep_their_hosts(tmp_path: Path) -> None:
    hosts = "".join(
        f"        192.0.2.7 {name}\n"
        for name in ("host.blue.lab.example", "host.lab.example", "a.b.lab.example")
    )
    text = f".:{FIRST_PORT} {{\n    bind 127.0.0.1\n    hosts {{\n{hosts}    }}\n}}\n"
    target = ConfigMapKey(namespace="kube-system", name="coredns", key="Corefile")
    options = {"suffixes": ["blue.lab.example", "lab.example"], "keep": []}
    fixed = search_domains.edit(Edit(fix="search-domains", options=options), target, text.encode())
    assert fixed is not None
    names = ("host.blue.lab.example", "host.lab.example", "a.b.lab.example", "a.b.blue.lab.example")
    answers = ask(fixed.decode(), tmp_path, FIRST_PORT, names)
    codes = {name: answers[f"A {name}"].code for name in names}
    assert codes == {
        "host.blue.lab.example": "NOERROR",
        "host.lab.example": "NOERROR",
        "a.b.lab.example": "NXDOMAIN",
        "a.b.blue.lab.example": "NXDOMAIN",
    }


def test_a_keep_that_a_template_answers_is_refused() -> None:
    text = (
        ".:53 {\n    template IN AAAA {\n        rcode NOERROR\n    }\n    forward . 10.9.0.2\n}\n"
    )
    target = ConfigMapKey(namespace="kube-system", name="coredns", key="Corefile")
    options = {"keep_aaaa": ["lab.example"], "forward": [], "prefer_udp": False}
    with pytest.raises(CannotEdit, match="line 1: a template answers all AAAA"):
        dns.edit(Edit(fix="dns", options=options), target, text.encode())
