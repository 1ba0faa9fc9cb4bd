"""What was seen of a cluster, and how it is looked at."""
