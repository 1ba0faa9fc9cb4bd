"""Public packages: pages and files of the upstream, fetched once and kept on the volume.

nginx serves what is there and asks the program of this package (``python3 -m mirror.cache``) only
for what is missing or no longer fresh. It runs in the pod: standard library, urllib3 and
mirror.core. docs/proxy.md tells how the parts play together.
"""
