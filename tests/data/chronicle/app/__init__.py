"""A stand-in for Chronicle's backend with its dependencies and start commands."""
