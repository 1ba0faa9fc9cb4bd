"""The command line. It may import all other packages; no other package imports it."""
