"""Images: recipes are data, the build is a straight line."""
