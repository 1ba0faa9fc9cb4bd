"""Everything that works with a cluster: `up`, `fix`, `doctor` and what they use."""
