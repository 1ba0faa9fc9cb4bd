"""Assemble an application's image from layers that we write: the same bytes on every machine."""
