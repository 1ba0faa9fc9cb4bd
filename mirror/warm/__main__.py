"""`python3 -m mirror.warm`: run the warm worker."""

from __future__ import annotations

import sys

from mirror.warm.worker import main

if __name__ == "__main__":
    sys.exit(main())
