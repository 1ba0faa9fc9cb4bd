"""Telling the cluster without a token: what stands in a file is the output of the pod's probe.

The kubelet asks it again and again whether the pod is ready, by a plain shell (no Python is
started for it). Where there is something to tell, the probe prints it, puts it away and fails,
once: the kubelet makes an Event of it, in its own name. The pod stays Ready.
"""

from __future__ import annotations

import os
from pathlib import Path

EVENT_QUEUE = Path("/told/news")
_MORE = " … (the rest is in the pod's log)\n"
_LONGEST = 900  # characters; of an Event's message, 1024 at most, the kubelet's words are the rest


def queue_event(message: str, queue: Path = EVENT_QUEUE) -> None:
    """Behind what was not fetched yet; what is too long is cut."""
    if not queue.parent.is_dir():
        return  # a pod of an older template: it is in the log
    waiting = queue.read_text() if queue.exists() else ""
    whole = f"{waiting}{message}\n"
    if len(whole) > _LONGEST:
        whole = f"{whole.removesuffix(_MORE)[: _LONGEST - len(_MORE)]}{_MORE}"
    half = queue.with_suffix(".half")
    half.write_text(whole)
    os.replace(half, queue)  # noqa: PTH105 - as everywhere in the agent
