"""The cluster fixtures for the tests of this folder."""

from __future__ import annotations

from tests.cluster.fixtures import cluster, field_lab

__all__ = ["cluster", "field_lab"]
