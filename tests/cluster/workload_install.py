"""Runs in a workload's pod: installs a hashed lock with one program after the other, and reports.

The only thing it is given is the environment that `mirror env --publish` put into the namespace.
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
    """An install of the whole lock into a fresh virtual environment."""
    if program == "pip":
        # one of the lock's distributions says "not for Python 3.13", which only pip obeys
        words = ["--no-cache-dir", "--no-compile", "--ignore-requires-python", "--require-hashes"]
        return [f"{target}/bin/pip", "install", "-q", *words, "-r", LOCK]
    uv = [f"/usr/local/bin/{program}", "pip", "install", "--no-cache", "--require-hashes"]
    return [*uv, "--python", f"{target}/bin/python", "-r", LOCK]


def main() -> int:
    failed = False
    for program in sys.argv[1:]:
        target = f"/tmp/{program}"
        bare = [] if program == "pip" else ["--without-pip"]
        subprocess.run([PYTHON, "-m", "venv", *bare, target], check=True, timeout=120)
        begun = time.monotonic()
        done = subprocess.run(
            build_install_command(program, target),
            capture_output=True,
            text=True,
            timeout=1500,
            check=False,
        )
        places = [str(path) for path in Path(target).glob("lib/python*/site-packages")]
        names = sorted(one.metadata["Name"] for one in distributions(path=places))
        report = {
            "program": program,
            "code": done.returncode,
            "seconds": round(time.monotonic() - begun, 1),
            "names": names,
            "said": (done.stdout + done.stderr)[-1500:],
        }
        print(json.dumps(report), flush=True)
        failed = failed or done.returncode != 0
        shutil.rmtree(target)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
