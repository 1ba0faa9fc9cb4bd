"""Report to the cluster without a token: the readiness probe prints the queued messages.

The kubelet runs the pod's readiness probe every few seconds, in a plain shell (it starts no
Python). If messages are queued, the probe prints them, empties the queue and fails, once. The
kubelet makes an Event of that in its own name, and the pod stays Ready.
"""

from __future__ import annotations

import os
from pathlib import Path

EVENT_QUEUE = Path("/told/news")
_TRUNCATED = " … (the rest is in the pod's log)\n"
_MAX_LENGTH = 900  # characters; an Event's message has at most 1024, including the kubelet's words


def queue_event(message: str, queue: Path = EVENT_QUEUE) -> None:
    """Add a message to the queue that the probe reports; truncate the queue to 900 characters."""
    if not queue.parent.is_dir():
        return  # a pod of an older version has no such volume; the message is in its log
    pending = queue.read_text() if queue.exists() else ""
    text = f"{pending}{message}\n"
    if len(text) > _MAX_LENGTH:
        text = f"{text.removesuffix(_TRUNCATED)[: _MAX_LENGTH - len(_TRUNCATED)]}{_TRUNCATED}"
    temporary = queue.with_suffix(".half")
    temporary.write_text(text)
    os.replace(temporary, queue)  # noqa: PTH105 - as everywhere in the agent
