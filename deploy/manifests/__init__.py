"""Settings → Kubernetes objects. Pure."""
