"""python3 -m mirror.agent serve | do: run on a node; answer one request from stdin."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path, PurePosixPath
from typing import Any

from mirror.agent import desired_state, events, node_defaults, reconcile, targets
from mirror.agent.host_paths import CNI_DIRECTORIES, PROC_SYS_NET, HostPaths, TargetError
from mirror.agent.host_report import describe_host
from mirror.core.wait import repeat_until_stopped
from mirror.snapshot import WriteConflict, decode_content

_SECONDS = 15.0  # between two reconciliations
_MAX_REASON = 500  # characters
_MAX_REQUEST = 8 << 20  # characters of a request: a file, and saved addresses and routes


def handle_request(host: HostPaths, request: dict[str, Any]) -> dict[str, Any]:
    """Answer a request in JSON: ``moved`` after a conflict, ``refused`` and why if it fails."""
    try:
        match request["do"]:
            case "look":
                return describe_host(host)
            case "read":
                return targets.read_target(host, request["target"]).to_json()
            case "write":
                desired_state.remove(host, targets.list_affected(request["target"]))
                content = decode_content(request["content"])
                return targets.write_target(
                    host, request["target"], content, request["seen"], request["frame"]
                ).to_json()
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
                return {"refused": f"unknown request: {other}"}
    except WriteConflict as conflict:
        return {"moved": str(conflict)}
    except (TargetError, OSError) as error:
        return {"refused": str(error)}
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        return {"refused": f"malformed request: {type(error).__name__}: {error}"[:_MAX_REASON]}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m mirror.agent")
    parser.add_argument("command", choices=("serve", "do"))
    parser.add_argument("--root", type=Path, default=Path("/host"))
    parser.add_argument("--net", type=Path, default=PROC_SYS_NET)
    parser.add_argument("--cni", type=PurePosixPath, default=CNI_DIRECTORIES[0])
    options = parser.parse_args(argv)
    host = HostPaths(root=options.root, net=options.net, cni=options.cni)
    if options.command == "do":
        request = _read_request()
        with host.lock():
            print(json.dumps(handle_request(host, request)))
    else:
        _serve(host)
    return 0


def _read_request() -> Any:
    try:
        return json.loads(sys.stdin.readline(_MAX_REQUEST))
    except (ValueError, RecursionError):
        return {"do": "a request that is not JSON, or too long"}


def _serve(host: HostPaths) -> None:
    """Apply the node defaults, then restore the desired state every 15 s.

    What cannot be obeyed is reported, and the agent stands by for the next request.
    """
    with host.lock():
        for line in node_defaults.apply_defaults(host):
            _log(line)
        try:
            reconcile.initialize_desired_state(host)
        except TargetError as error:
            _log(str(error))
        for line in node_defaults.find_rejected(host):
            events.queue_event(line)
    _log("ready")
    reconciler = reconcile.NodeReconciler(host, _log, events.queue_event)
    repeat_until_stopped(reconciler.reconcile, _SECONDS)


def _log(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
