"""Programs of the standard library alone that are put into containers; never imported by us."""
