"""Starts the mirror's server again and again without its imports, which are most of a start.

`python -m tests.faults.fork_server`: a line of JSON (argv, log) in, the pid of a fork that runs
mirror.private_names's own main out. The fork is the server: it is what gets killed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback

import devpi_server.main
import devpi_server.views  # noqa: F401 - what a start spends its time on

from mirror import private_names


def main() -> None:
    """Serve orders until the end of the input."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid:
            print(pid, flush=True)
            continue
        os.setsid()
        out = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for number, descriptor in enumerate((os.open(os.devnull, os.O_RDONLY), out, out)):
            os.dup2(descriptor, number)
        code = 1
        try:
            code = private_names.main(order["argv"])
        except BaseException:  # noqa: BLE001 - told in the log
            traceback.print_exc()
        finally:
            os._exit(code)


if __name__ == "__main__":
    main()
