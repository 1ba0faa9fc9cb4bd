"""Calico in the lab: its real CNI plugin, IPAM and CRDs, and a stand-in for calico-node."""
