"""An RQ worker for the named queues, started like Chronicle's."""

import os
import sys

from redis import Redis
from rq import Queue, Worker


def main() -> None:
    redis = Redis.from_url(os.environ.get("REDIS_URL", "redis://localhost:6379/0"))
    Worker([Queue(name, connection=redis) for name in sys.argv[1:]], connection=redis).work()


if __name__ == "__main__":
    main()
