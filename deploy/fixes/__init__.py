"""The fixes: one module each with ``FIX``, pure functions from evidence to changes."""
