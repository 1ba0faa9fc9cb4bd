"""Run programs one after the other; the first that fails ends it.

usage: run_steps.py STEPS    STEPS is a JSON list of command lines
"""

from __future__ import annotations

import json
import subprocess
import sys

if __name__ == "__main__":
    for step in json.loads(sys.argv[1]):
        print("+", *step, flush=True)
        if code := subprocess.run(step, check=False).returncode:
            sys.exit(code if code > 0 else 128 - code)
