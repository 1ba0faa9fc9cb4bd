"""Stands in for Chronicle's backend: its dependency set and its ways of starting, not its work."""
