"""The command line of probe pods; both commands print JSON.

python3 -m mirror.probe dns --name HOST[:PORT] … [--mirror ADDRESS:PORT]
python3 -m mirror.probe expect NAME/QTYPE/ANSWER … [--server ADDRESS] [--seconds N]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from mirror.core.codec import dump
from mirror.probe.endpoint import parse_endpoint
from mirror.probe.expectations import parse_expectation, wait_for_answers
from mirror.probe.observation import ProbeOptions, observe_pod
from mirror.probe.search_list import read_resolv_conf


def main(argv: list[str]) -> int:
    """Print the report and return 0, even if the network does not work."""
    options = _build_parser().parse_args(argv)
    if options.command == "expect":
        servers = (*read_resolv_conf(options.resolv_conf).nameservers, *options.servers)
        report = wait_for_answers(
            options.expectations, dict.fromkeys(servers), options.seconds, options.dns_port
        )
        print(json.dumps(dump(report)))
    else:
        settings = ProbeOptions(
            resolv_conf=options.resolv_conf,
            tools=options.tools,
            dns_port=options.dns_port,
            mirror=options.mirror,
        )
        print(json.dumps(dump(observe_pod(options.endpoints, settings))))
    return 0


def _build_parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--resolv-conf", type=Path, default=Path("/etc/resolv.conf"))
    common.add_argument("--dns-port", type=int, default=53)
    parser = argparse.ArgumentParser(prog="python3 -m mirror.probe")
    commands = parser.add_subparsers(dest="command", required=True)
    expect = commands.add_parser("expect", parents=[common])
    expect.add_argument(
        "expectations", type=parse_expectation, nargs="+", metavar="NAME/QTYPE/ANSWER"
    )
    expect.add_argument("--server", dest="servers", action="append", default=[])
    expect.add_argument("--seconds", type=float, default=60)
    dns = commands.add_parser("dns", parents=[common])
    dns.add_argument(
        "--name", dest="endpoints", type=parse_endpoint, action="append", required=True
    )
    dns.add_argument("--mirror", type=parse_endpoint, metavar="ADDRESS:PORT")
    dns.add_argument("--tools", type=Path, default=Path("/opt/probe"))
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
