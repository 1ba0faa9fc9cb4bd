"""python3 -m mirror.agent serve | do: stand by on a node; answer one question from stdin."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from pathlib import Path, PurePosixPath
from typing import Any

from mirror.agent import keep, kept, pages, sysctls, told
from mirror.agent.alone import alone
from mirror.agent.content import as_bytes, as_text
from mirror.agent.files import Moved
from mirror.agent.look import look
from mirror.agent.place import CNI_HOMES, NET, Place, Refused

_SECONDS = 15.0  # between two looks at what is kept


def answer(place: Place, ask: dict[str, Any]) -> dict[str, Any]:
    """One question and its answer, both JSON. ``moved`` and ``refused`` are answers too."""
    try:
        match ask["do"]:
            case "look":
                return look(place)
            case "read":
                state = kept.read(place, ask["target"])
            case "write":
                pages.drop(place, sysctls.moved_by(ask["target"]))
                made = as_bytes(ask["content"])
                state = kept.write(place, ask["target"], made, ask["seen"], ask["frame"])
            case "seen":
                return keep.seen(place, ask["targets"])
            case "keep":
                return keep.store(place, ask["pages"], orders=ask["orders"])
            case "release":
                failed = kept.release(place)
                if ask.get("end"):
                    pages.write(place, [])
                return {"failed": failed}
            case other:
                return {"refused": f"no such question: {other}"}
    except Moved as moved:
        return {"moved": str(moved)}
    except (Refused, OSError) as refused:
        return {"refused": str(refused)}
    return {"content": as_text(state.content), "version": state.version, "frame": state.frame}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m mirror.agent")
    parser.add_argument("what", choices=("serve", "do"))
    parser.add_argument("--root", type=Path, default=Path("/host"))
    parser.add_argument("--net", type=Path, default=NET)
    parser.add_argument("--cni", type=PurePosixPath, default=CNI_HOMES[0])
    given = parser.parse_args(argv)
    place = Place(root=given.root, net=given.net, cni=given.cni)
    if given.what == "do":
        ask = json.loads(sys.stdin.readline())
        with alone(place):
            print(json.dumps(answer(place, ask)))
        return 0
    _stand_by(place)
    return 0


def _stand_by(place: Place) -> None:
    """Follow the standing orders, then keep what is kept."""
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    with alone(place):
        for line in kept.follow(place):
            _say(line)
        try:
            keep.begin(place)
        except Refused as refused:
            _say(str(refused))
    _say("standing by")
    keeping = keep.Keep(place, _say, told.tell)
    while not over.is_set():
        keeping.look()
        over.wait(_SECONDS)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
