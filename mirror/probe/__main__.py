"""What probe pods run; JSON on stdout.

python3 -m mirror.probe dns --name HOST[:PORT] … [--mirror ADDRESS:PORT]
python3 -m mirror.probe expect NAME/QTYPE/WANTED … [--server ADDRESS] [--seconds N]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
from pathlib import Path

from mirror.probe.expectations import parse_expectation, wait_for_answers
from mirror.probe.observation import IndexEndpoint, ProbeOptions, observe_pod
from mirror.probe.search_list import read_resolv_conf

_LABEL = r"[a-zA-Z0-9_]([-a-zA-Z0-9_]{0,61}[a-zA-Z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,200}}\Z){_LABEL}(\.{_LABEL})*\.?\Z")


def parse_endpoint(text: str) -> IndexEndpoint:
    """HOST or HOST:PORT. Raises ValueError, which argparse shows."""
    name, colon, port = text.partition(":")
    if not _NAME.match(name):
        raise ValueError(f"not a DNS name: {name!r}")
    return IndexEndpoint(name=name, port=int(port) if colon else 443)


def main(argv: list[str]) -> int:
    """Print what this pod sees. Ends with 0: what is found is not the probe's failure."""
    parser = argparse.ArgumentParser(prog="python3 -m mirror.probe")
    kinds = parser.add_subparsers(dest="what", required=True)
    wait = kinds.add_parser("expect")
    wait.add_argument("questions", type=parse_expectation, nargs="+", metavar="NAME/QTYPE/WANTED")
    wait.add_argument("--server", dest="servers", action="append", default=[])
    wait.add_argument("--seconds", type=float, default=60)
    wait.add_argument("--resolv-conf", type=Path, default=Path("/etc/resolv.conf"))
    wait.add_argument("--dns-port", type=int, default=53)
    dns = kinds.add_parser("dns")
    dns.add_argument("--name", dest="places", type=parse_endpoint, action="append", required=True)
    dns.add_argument("--mirror", type=parse_endpoint, metavar="ADDRESS:PORT")
    dns.add_argument("--resolv-conf", type=Path, default=Path("/etc/resolv.conf"))
    dns.add_argument("--tools", type=Path, default=Path("/opt/probe"))
    dns.add_argument("--dns-port", type=int, default=53)
    given = parser.parse_args(argv)
    if given.what == "expect":
        servers = (*read_resolv_conf(given.resolv_conf).nameservers, *given.servers)
        told = wait_for_answers(
            given.questions, dict.fromkeys(servers), given.seconds, given.dns_port
        )
        print(json.dumps(dataclasses.asdict(told)))
        return 0
    ground = ProbeOptions(
        resolv_conf=given.resolv_conf,
        tools=given.tools,
        dns_port=given.dns_port,
        mirror=given.mirror,
    )
    print(json.dumps(dataclasses.asdict(observe_pod(given.places, ground))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
