"""Everything that is tested, and the machinery for it."""
