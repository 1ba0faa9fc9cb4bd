"""The memory provider; imports its dependencies where Chronicle does."""

import mem0
import qdrant_client

PROVIDER = f"{mem0.__name__} over {qdrant_client.__name__}"
