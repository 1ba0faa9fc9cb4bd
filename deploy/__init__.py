"""What happens on a cluster: one file a verb, each a straight line."""
