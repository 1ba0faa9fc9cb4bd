"""Start the mirror's devpi again and again without its imports, which take most of a start.

`python -m tests.faults.fork_server` reads lines of JSON (argv, log) and prints the pid of a fork
that runs the main function of mirror.private_names. The fork is the server that tests kill.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback

import devpi_server.main
import devpi_server.views  # noqa: F401 - imported here, so that forks need not import it

from mirror import private_names


def main() -> None:
    """Start a server for each line until the input ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # leave no zombies
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid:
            print(pid, flush=True)
        else:
            _serve(request["argv"], request["log"])


def _serve(argv: list[str], log_path: str) -> None:
    """Run the server in a session of its own; never returns."""
    os.setsid()
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number, descriptor in enumerate((os.open(os.devnull, os.O_RDONLY), log, log)):
        os.dup2(descriptor, number)
    exit_code = 1
    try:
        exit_code = private_names.main(argv)
    except BaseException:  # noqa: BLE001 - goes to the log
        traceback.print_exc()
    finally:
        os._exit(exit_code)


if __name__ == "__main__":
    main()
