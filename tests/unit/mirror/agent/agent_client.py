"""The node agent asked in this process, or in one that dies before its Nth change."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from mirror.agent.__main__ import handle_request
from mirror.agent.host_paths import HostPaths
from tests.kill_hook import render_kill_hook

FILE = "/etc/cni/net.d/10-calico.conflist"
OLD, NEW = b'{"plugins": [{"type": "calico"}]}', b'{"plugins": [{"type": "calico"}, {}]}'

_COUNTED = render_kill_hook("os.chmod")
_ASKED = """
import mirror.agent.__main__ as agent
sys.addaudithook(counted)
sys.exit(agent.main(sys.argv[1:]))
"""
_LOOKS = """
from pathlib import Path
from mirror.agent.reconcile import Keep
from mirror.agent.host_paths import Place
keep = Keep(Place(root=Path(sys.argv[1]), net=Path(sys.argv[2])), print, lambda text: None)
sys.addaudithook(counted)
keep.look()
"""


def request_read(place: HostPaths, target: str) -> dict[str, Any]:
    return handle_request(place, {"do": "read", "target": target})


def request_write(
    place: HostPaths, target: str, content: bytes | None, seen: dict[str, Any]
) -> dict[str, Any]:
    made = None if content is None else base64.b64encode(content).decode()
    ask = {"do": "write", "target": target, "content": made, "seen": seen["version"]}
    return handle_request(place, {**ask, "frame": seen["frame"]})


def read_tree(place: HostPaths) -> dict[str, bytes]:
    return {
        str(path.relative_to(place.root)): path.read_bytes()
        for path in sorted(place.root.rglob("*"))
        if path.is_file()
    }


def survives_kill_at(place: HostPaths, number: int, ask: dict[str, Any]) -> bool:
    """Whether a question was answered by an agent that dies before its number-th change."""
    where = ("--root", str(place.root), "--net", str(place.net))
    return _lived(_ASKED, number, "do", *where, line=json.dumps(ask))


def reconcile_survives_kill_at(place: HostPaths, number: int) -> bool:
    """The same of its look at what is kept."""
    return _lived(_LOOKS, number, str(place.root), str(place.net))


def _lived(program: str, number: int, *argv: str, line: str = "") -> bool:
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", _COUNTED + program, str(number), *argv],
        input=f"{line}\n".encode(),
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (0, -9), done.stderr.decode()
    return done.returncode == 0
