"""The mirror on this machine: background processes, without root and without a cluster."""
