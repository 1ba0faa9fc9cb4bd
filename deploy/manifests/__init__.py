"""Render Kubernetes objects from settings. Pure functions."""
