"""Build images from recipes, and prove that they start without a network."""
