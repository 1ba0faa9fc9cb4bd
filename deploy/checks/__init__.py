"""One file a category of checks; each decides from evidence alone."""
