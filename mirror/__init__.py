"""The mirror itself: settings, processes, client. Independent of any cluster."""
