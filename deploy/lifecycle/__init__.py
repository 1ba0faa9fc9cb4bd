"""The mirror's own life in a cluster: up, down, status, and their steps."""
