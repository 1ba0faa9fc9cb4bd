"""python3 -m mirror.agent serve | do: stand by on a node; answer one question from stdin."""

from __future__ import annotations

import argparse
import base64
import fcntl
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from mirror.agent import kept
from mirror.agent.files import Moved
from mirror.agent.look import look
from mirror.agent.place import CNI_HOMES, Place, Refused


@contextmanager
def alone(place: Place) -> Iterator[None]:
    """No two of the agent's processes work on one host at once."""
    fd = os.open(place.root / "etc", os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def answer(place: Place, ask: dict[str, Any]) -> dict[str, Any]:
    """One question and its answer, both JSON. ``moved`` and ``refused`` are answers too."""
    try:
        match ask["do"]:
            case "look":
                return look(place)
            case "read":
                state = kept.read(place, ask["target"])
            case "write":
                content = ask["content"]
                made = None if content is None else base64.b64decode(content)
                state = kept.write(place, ask["target"], made, ask["seen"], ask["frame"])
            case "release":
                return {"failed": kept.release(place)}
            case other:
                return {"refused": f"no such question: {other}"}
    except Moved as moved:
        return {"moved": str(moved)}
    except (Refused, OSError) as refused:
        return {"refused": str(refused)}
    content = None if state.content is None else base64.b64encode(state.content).decode()
    return {"content": content, "version": state.version, "frame": state.frame}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m mirror.agent")
    parser.add_argument("what", choices=("serve", "do"))
    parser.add_argument("--root", type=Path, default=Path("/host"))
    parser.add_argument("--cni", type=PurePosixPath, default=CNI_HOMES[0])
    given = parser.parse_args(argv)
    place = Place(root=given.root, cni=given.cni)
    if given.what == "do":
        ask = json.loads(sys.stdin.readline())
        with alone(place):
            print(json.dumps(answer(place, ask)))
        return 0
    with alone(place):
        for line in kept.follow(place):
            print(line, flush=True)
    print("standing by", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
