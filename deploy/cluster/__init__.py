"""The door to the cluster."""
