"""python3 -m mirror.agent serve | do: stand by on a node; answer one question from stdin."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from pathlib import Path, PurePosixPath
from typing import Any

from mirror.agent import desired_state, events, node_defaults, reconcile, sysctls
from mirror.agent.host_paths import CNI_DIRECTORIES, PROC_SYS_NET, HostPaths, TargetError
from mirror.agent.host_report import describe_host
from mirror.agent.lock import lock_host
from mirror.snapshot import WriteConflict, decode_content

_SECONDS = 15.0  # between two looks at what is kept


def handle_request(host: HostPaths, request: dict[str, Any]) -> dict[str, Any]:
    """One question and its answer, both JSON. ``moved`` and ``refused`` are answers too."""
    try:
        match request["do"]:
            case "look":
                return describe_host(host)
            case "read":
                state = node_defaults.read_target(host, request["target"])
            case "write":
                desired_state.remove(host, sysctls.affected_targets(request["target"]))
                made = decode_content(request["content"])
                state = node_defaults.write_target(
                    host, request["target"], made, request["seen"], request["frame"]
                )
            case "seen":
                return reconcile.report_versions(host, request["targets"])
            case "keep":
                return reconcile.set_desired_state(
                    host, request["pages"], include_defaults=request["orders"]
                )
            case "release":
                failed = node_defaults.revert_defaults(host)
                if request.get("end"):
                    desired_state.write(host, [])
                return {"failed": failed}
            case other:
                return {"refused": f"no such question: {other}"}
    except WriteConflict as moved:
        return {"moved": str(moved)}
    except (TargetError, OSError) as refused:
        return {"refused": str(refused)}
    return state.to_json()


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m mirror.agent")
    parser.add_argument("what", choices=("serve", "do"))
    parser.add_argument("--root", type=Path, default=Path("/host"))
    parser.add_argument("--net", type=Path, default=PROC_SYS_NET)
    parser.add_argument("--cni", type=PurePosixPath, default=CNI_DIRECTORIES[0])
    given = parser.parse_args(argv)
    place = HostPaths(root=given.root, net=given.net, cni=given.cni)
    if given.what == "do":
        ask = json.loads(sys.stdin.readline())
        with lock_host(place):
            print(json.dumps(handle_request(place, ask)))
        return 0
    _stand_by(place)
    return 0


def _stand_by(place: HostPaths) -> None:
    """Follow the standing orders, then keep what is kept."""
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    with lock_host(place):
        for line in node_defaults.apply_defaults(place):
            _say(line)
        try:
            reconcile.initialize_desired_state(place)
        except TargetError as refused:
            _say(str(refused))
    _say("standing by")
    keeping = reconcile.NodeReconciler(place, _say, events.queue_event)
    while not over.is_set():
        keeping.reconcile()
        over.wait(_SECONDS)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
