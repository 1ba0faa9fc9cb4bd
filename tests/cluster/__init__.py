"""A real Kubernetes of three nodes on this machine, and the tests that need it."""
