"""The program of probe pods: examines the network as a workload sees it, and prints JSON."""
