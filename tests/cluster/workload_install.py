"""Runs in a workload's pod: installs a hashed lock with several programs and reports on each.

The index comes only from the environment, as `mirror env --publish` sets it.
"""

import json
import shutil
import subprocess
import sys
import time
from importlib.metadata import distributions
from pathlib import Path

LOCK = "/lock/requirements.txt"
PYTHON = "/usr/bin/python3"


def build_install_command(program: str, target: str) -> list[str]:
    """Return the command that installs the whole lock into a new virtual environment."""
    if program == "pip":
        # one of the lock's distributions says "not for Python 3.13", which only pip obeys
        options = ["--no-cache-dir", "--no-compile", "--ignore-requires-python", "--require-hashes"]
        return [f"{target}/bin/pip", "install", "-q", *options, "-r", LOCK]
    uv = [f"/usr/local/bin/{program}", "pip", "install", "--no-cache", "--require-hashes"]
    return [*uv, "--python", f"{target}/bin/python", "-r", LOCK]


def main() -> int:
    failed = False
    for program in sys.argv[1:]:
        target = f"/tmp/{program}"
        venv_options = [] if program == "pip" else ["--without-pip"]
        subprocess.run([PYTHON, "-m", "venv", *venv_options, target], check=True, timeout=120)
        started = time.monotonic()
        result = subprocess.run(
            build_install_command(program, target),
            capture_output=True,
            text=True,
            timeout=1500,
            check=False,
        )
        folders = [str(path) for path in Path(target).glob("lib/python*/site-packages")]
        names = sorted(
            distribution.metadata["Name"] for distribution in distributions(path=folders)
        )
        report = {
            "program": program,
            "code": result.returncode,
            "seconds": round(time.monotonic() - started, 1),
            "names": names,
            "output": (result.stdout + result.stderr)[-1500:],
        }
        print(json.dumps(report), flush=True)
        failed = failed or result.returncode != 0
        shutil.rmtree(target)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
