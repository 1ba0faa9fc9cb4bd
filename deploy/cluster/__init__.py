"""Access to the cluster's API."""
