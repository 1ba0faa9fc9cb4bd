"""Changes to what is not ours: stored before, compared first, undone exactly."""
