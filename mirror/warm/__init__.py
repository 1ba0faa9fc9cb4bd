"""Warm the mirror: fetch everything that a lock needs before pods ask for it."""
