"""Observe a cluster: one module per subject, and `collect`, which reads them all."""
