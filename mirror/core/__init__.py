"""Errors, progress, waiting, programs: what every part stands on."""
