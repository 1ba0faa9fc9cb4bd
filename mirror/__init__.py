"""The mirror itself: settings, processes, client. Knows nothing of clusters."""
