"""What runs in a probe pod: it looks at the network as a workload does and prints one JSON."""
