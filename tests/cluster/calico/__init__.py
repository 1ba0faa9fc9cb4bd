"""Calico in the lab: its own CNI plugin and IPAM, its own CRDs, and a stand-in for calico-node."""
