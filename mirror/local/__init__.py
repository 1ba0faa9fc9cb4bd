"""The mirror on this machine: ordinary processes, no root, no cluster."""
