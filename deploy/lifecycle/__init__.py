"""The mirror's life cycle in a cluster: up, down, status, and their steps."""
