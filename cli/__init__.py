"""The command line: knows all, nobody imports it."""
