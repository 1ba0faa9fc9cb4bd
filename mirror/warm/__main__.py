"""`python3 -m mirror.warm`: warm a mirror from a request on standard input or in a file."""

from __future__ import annotations

import sys

from mirror.warm.worker import main

if __name__ == "__main__":
    sys.exit(main())
